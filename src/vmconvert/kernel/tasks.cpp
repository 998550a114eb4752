#include "vmconvert/kernel/tasks.h"

#include <array>

#include "vmconvert/base/packed.h"
#include "vmconvert/kernel/btf.h"

namespace vmconvert {
namespace {

constexpr std::size_t kCommSize = 16;        // TASK_COMM_LEN
constexpr std::size_t kMostTasks = 1 << 22;  // PID_MAX_LIMIT

struct Layout {
  std::uint64_t tasks, comm, pid;
};

std::optional<Layout> read_layout(const PageTables& tables, const KernelImageContent& content) {
  const std::endian order = tables.guest_order();
  for (const GuestVirtAddr at : content.btf) {
    std::vector<std::byte> bytes(64);
    if (!tables.read(at, bytes)) continue;
    const auto size = btf_size(bytes, order);
    if (!size) continue;
    bytes.resize(static_cast<std::size_t>(*size));
    if (!tables.read(at, bytes)) continue;
    const auto task = find_btf_struct(bytes, order, "task_struct");
    if (!task) continue;
    const auto tasks_at = task->members.find("tasks"), comm = task->members.find("comm"),
               pid = task->members.find("pid");
    if (tasks_at == task->members.end() || comm == task->members.end() ||
        pid == task->members.end())
      continue;
    return Layout{tasks_at->second, comm->second, pid->second};
  }
  return std::nullopt;
}

std::optional<Task> read_task(const PageTables& tables, const Layout& layout, std::uint64_t at) {
  Task task;
  std::array<std::byte, kCommSize> comm{};
  std::array<std::byte, 4> pid{};
  if (!tables.read({at + layout.comm}, comm) || !tables.read({at + layout.pid}, pid))
    return std::nullopt;
  task.pid = static_cast<std::int32_t>(load<std::uint32_t>(pid, tables.guest_order()));
  const std::string_view text(reinterpret_cast<const char*>(comm.data()), comm.size());
  task.comm = text.substr(0, text.find('\0'));
  return task;
}

/// Follows task_struct.tasks from init_task until it comes back.
std::optional<std::vector<Task>> walk(const PageTables& tables, const Layout& layout,
                                      std::uint64_t init_task) {
  std::vector<Task> result;
  const std::uint64_t head = init_task + layout.tasks;
  std::uint64_t at = head;
  do {
    const auto task = read_task(tables, layout, at - layout.tasks);
    const auto next = tables.read_pointer({at});
    if (!task || !next || result.size() == kMostTasks) return std::nullopt;
    if (*next > UINT64_MAX - layout.comm - layout.pid - 4096) return std::nullopt;
    const auto back = tables.read_pointer({*next + tables.pointer_size()});
    if (back != at) return std::nullopt;
    result.push_back(*task);
    at = *next;
  } while (at != head);
  return result;
}

}  // namespace

std::optional<std::vector<Task>> list_tasks(const PageTables& tables,
                                            const KernelImageContent& content) {
  const auto layout = read_layout(tables, content);
  if (!layout) return std::nullopt;
  for (const GuestVirtAddr name : content.idle_names) {
    if (name.value < layout->comm) continue;
    auto found = walk(tables, *layout, name.value - layout->comm);
    if (found && found->front().pid == 0 && found->size() > 1) return found;
  }
  return std::nullopt;
}

}  // namespace vmconvert
