#include "vmconvert/convert/verify.h"

#include <algorithm>

#include "vmconvert/base/text.h"
#include "vmconvert/kernel/tasks.h"

namespace vmconvert {
namespace {

using State = Finding::State;

Finding check_memory(const GuestImage& image) {
  const auto extents = image.runs.extents();
  std::string text = human_size(image.runs.total_bytes()) + " in " +
                     counted(extents.size(), "extent") + ", " +
                     counted(image.runs.runs().size(), "run");
  if (extents.size() > 1) {
    std::uint64_t largest = 0;
    for (std::size_t i = 1; i < extents.size(); ++i)
      largest = std::max(largest, extents[i].begin() - extents[i - 1].end());
    text += ", largest gap " + human_size(largest);
  }
  return {"memory", extents.empty() ? State::doubtful : State::good, text};
}

Finding check_vcpus(const GuestImage& image) {
  std::size_t count = image.vcpus.size();
  if (count == 0) {
    count = static_cast<std::size_t>(
        std::count_if(image.notes.begin(), image.notes.end(),
                      [](const Note& note) { return note.name == "CORE" && note.type == 1; }));
  }
  if (count == 0) return {"vcpus", State::absent, "no registers: no back traces of running tasks"};
  return {"vcpus", State::good, "registers of " + counted(count, "vCPU")};
}

Finding check_vmcoreinfo(const GuestImage& image) {
  if (!image.vmcoreinfo)
    return {"vmcoreinfo", State::absent, "none: drgn and makedumpfile refuse the image"};
  const Vmcoreinfo& info = *image.vmcoreinfo;
  const auto release = info.value("OSRELEASE");
  if (!release) return {"vmcoreinfo", State::doubtful, "has no OSRELEASE (" + info.origin + ")"};
  return {"vmcoreinfo", State::good,
          "kernel " + printable(*release) + ", " + counted(info.text.size(), "byte") + " (" +
              printable(info.origin) + ")"};
}

void add_kernel(const GuestImage& image, const FoundKernel& kernel, std::vector<Finding>& to) {
  const KernelFacts& facts = kernel.facts;
  to.push_back({"kernel", State::good, printable(facts.release)});
  to.push_back({"linux_banner", State::good, printable(facts.banner)});
  const bool other =
      image.vmcoreinfo && image.vmcoreinfo->value("OSRELEASE").value_or("") != facts.release;
  if (other) to.push_back({"release", State::doubtful, "VMCOREINFO is of another kernel"});
  to.push_back({"page tables", State::good,
                kernel.tables.mode().name + ", root " + hex(kernel.tables.root().value) + " (" +
                    printable(facts.page_tables->origin) + ")"});
  if (facts.phys_base) to.push_back({"phys_base", State::good, signed_hex(facts.phys_base->value)});
  if (facts.kaslr_offset)
    to.push_back({"kaslr offset", State::good, hex(facts.kaslr_offset->value)});
  if (facts.page_offset) to.push_back({"direct map", State::good, hex(facts.page_offset->value)});
}

Finding check_tasks(const FoundKernel& kernel) {
  const auto tasks = list_tasks(kernel.tables, kernel.content);
  if (!tasks) {
    return kernel.content.btf.empty()
               ? Finding{"tasks", State::absent, "the kernel carries no type information (BTF)"}
               : Finding{"tasks", State::doubtful, "the list of tasks cannot be followed"};
  }
  return {"tasks", State::good, counted(tasks->size(), "task") + " reached through init_task"};
}

}  // namespace

std::vector<Finding> verify(GuestImage& image, const KernelOptions& options,
                            Diagnostics& diagnostics) {
  std::vector<Finding> findings{check_memory(image), check_vcpus(image)};
  const auto kernel = find_kernel(image, options, diagnostics);
  findings.push_back(check_vmcoreinfo(image));
  if (kernel) {
    add_kernel(image, *kernel, findings);
    findings.push_back(check_tasks(*kernel));
  } else {
    findings.push_back(
        {"kernel", State::doubtful, "no running Linux kernel is reached through page tables"});
  }
  return findings;
}

bool is_usable(const std::vector<Finding>& findings) {
  return std::none_of(findings.begin(), findings.end(),
                      [](const Finding& f) { return f.state == State::doubtful; });
}

}  // namespace vmconvert
