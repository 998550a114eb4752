#include "vmconvert/kernel/tasks.h"

#include "support/btf_builder.h"
#include "support/collecting_diagnostics.h"
#include "support/kernel_memory.h"
#include "support/test.h"
#include "vmconvert/convert/verify.h"
#include "vmconvert/kernel/btf.h"
#include "vmconvert/kernel/find_kernel.h"

namespace vmconvert::test {
namespace {

constexpr std::uint64_t kPid = 0x20, kTasks = 0x40, kComm = 0x88;

/// task_struct with pid and comm in anonymous parts, as the kernel's configuration may have them.
Bytes task_btf() {
  BtfBuilder btf;
  const auto number = btf.add_int("int", 4);
  btf.add_struct("other", 8, {{"pid", number, 4}});
  const auto inner = btf.add_struct("", 32, {{"pid", number, 0x10}, {"comm", number, 0x78}}, false);
  const auto both = btf.add_struct("", 32, {{"", inner, 0}}, true);
  btf.add_struct("task_struct", 0x100,
                 {{"state", number, 0}, {"", both, 0x10}, {"tasks", number, kTasks}});
  return btf.bytes();
}

TEST_CASE("btf: members of anonymous structs and unions lie where those lie") {
  const Bytes btf = task_btf();
  CHECK(btf_size(btf, std::endian::little) == btf.size());
  const auto found = find_btf_struct(btf, std::endian::little, "task_struct");
  REQUIRE(found.has_value());
  CHECK(found->size == 0x100);
  CHECK(found->members.at("pid") == kPid);
  CHECK(found->members.at("comm") == kComm);
  CHECK(found->members.at("tasks") == kTasks);
  CHECK_FALSE(find_btf_struct(btf, std::endian::little, "task"));
}

TEST_CASE("btf: a type within itself, and damage anywhere, come to an end") {
  BtfBuilder loop;
  loop.add_struct("task_struct", 8, {{"", 1, 0}, {"", 1, 0}, {"", 1, 0}, {"", 1, 0}});
  CHECK(find_btf_struct(loop.bytes(), std::endian::little, "task_struct").has_value());
  const Bytes whole = task_btf();
  for (std::size_t at = 0; at < whole.size(); ++at) {
    Bytes damaged = whole;
    damaged[at] ^= std::byte{0xff};
    find_btf_struct(damaged, std::endian::little, "task_struct");
  }
  for (std::size_t size = 0; size < whole.size(); size += 7) {
    const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    CHECK_FALSE(find_btf_struct(cut, std::endian::little, "task_struct"));
  }
}

/// A kernel with BTF in its image, and tasks: init_task in the image, the others in the direct map.
class TaskMemory {
 public:
  explicit TaskMemory(int others) {
    const Bytes btf = task_btf();
    memory_.put(kImage + 0x100000, {reinterpret_cast<const char*>(btf.data()), btf.size()});
    place(0, kImageGva + 0x40000, kImage + 0x40000, "swapper/0");
    for (int i = 1; i <= others; ++i) {
      const std::uint64_t gpa = 0xc00000 + 0x1000 * static_cast<std::uint64_t>(i);
      place(i, kDirectMap + gpa, gpa, "task");
    }
    for (std::size_t i = 0; i < gvas_.size(); ++i) link(i, (i + 1) % gvas_.size());
  }

  void link(std::size_t from, std::size_t to) {
    memory_.put_u64(gpas_[from] + kTasks, gvas_[to] + kTasks);
    memory_.put_u64(gpas_[to] + kTasks + 8, gvas_[from] + kTasks);
  }

  std::vector<Finding> verified() {
    GuestImage image = memory_.image({memory_.root()});
    CollectingDiagnostics diagnostics;
    return verify(image, {}, diagnostics);
  }

 private:
  static constexpr std::uint64_t kImage = 4 << 20, kImageGva = 0xffffffff8d400000,
                                 kDirectMap = 0xffff91c0c0000000;

  void place(int pid, std::uint64_t gva, std::uint64_t gpa, std::string_view comm) {
    memory_.put_u64(gpa + kPid, static_cast<std::uint64_t>(pid));
    memory_.put(gpa + kComm, std::string(comm) + std::string(16 - comm.size(), '\0'));
    gvas_.push_back(gva);
    gpas_.push_back(gpa);
  }

  KernelMemory memory_{{}};
  std::vector<std::uint64_t> gvas_, gpas_;
};

const Finding& tasks_of(const std::vector<Finding>& findings) {
  REQUIRE(findings.back().what == "tasks");
  return findings.back();
}

TEST_CASE("verify: tasks are counted through init_task") {
  const auto findings = TaskMemory(4).verified();
  CHECK(tasks_of(findings).text == "5 tasks reached through init_task");
  CHECK(tasks_of(findings).state == Finding::State::good);
  CHECK(is_usable(findings));
}

TEST_CASE("verify: a list of tasks that does not close, or runs past init_task, is doubtful") {
  TaskMemory open(3);
  open.link(2, 1);  // 3 is left out, and 1 has two before it
  const auto findings = open.verified();
  CHECK(tasks_of(findings).text == "the list of tasks cannot be followed");
  CHECK_FALSE(is_usable(findings));
}

TEST_CASE("verify: a kernel without type information is not doubted for it") {
  KernelMemory memory({});
  GuestImage image = memory.image({memory.root()});
  CollectingDiagnostics diagnostics;
  const auto findings = verify(image, {}, diagnostics);
  CHECK(tasks_of(findings).state == Finding::State::absent);
  CHECK(is_usable(findings));
}

TEST_CASE("verify: without a kernel the image is doubtful") {
  KernelMemory memory({.banner = ""});
  GuestImage image = memory.image({memory.root()});
  CollectingDiagnostics diagnostics;
  const auto findings = verify(image, {}, diagnostics);
  CHECK(findings.back().text == "no running Linux kernel is reached through page tables");
  CHECK_FALSE(is_usable(findings));
}

}  // namespace
}  // namespace vmconvert::test
