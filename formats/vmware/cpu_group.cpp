#include "vmware/cpu_group.h"

#include <algorithm>
#include <map>
#include <string>

#include "vmconvert/base/text.h"
#include "vmware/x86_draft.h"

namespace vmconvert::vmware {
namespace {

// Products allow fewer than a thousand. Larger: a hostile file costs more memory.
constexpr std::uint32_t kMostVcpus = 8192;

class GroupReader {
 public:
  GroupReader(const Checkpoint& checkpoint, Diagnostics& diagnostics)
      : checkpoint_(checkpoint), diagnostics_(diagnostics) {}

  CpuGroup read() {
    const Group* group = checkpoint_.find("cpu");
    if (group == nullptr) return {};
    std::string damage;
    try {
      checkpoint_.walk(*group, [&](const Tag& tag) {
        visit(tag);
        return true;
      });
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::io) throw;
      damage = error.what();
    }
    if (!damage.empty()) {
      give_up(damage);
    } else if (!result_.arm && !drafts_.empty()) {
      finish();
    }
    return std::move(result_);
  }

 private:
  void visit(const Tag& tag) {
    if (tag.name == "cpu:numVCPUs") {
      result_.vcpu_count = checkpoint_.number(tag).value_or(0);
      return;
    }
    if (tag.name.starts_with("hv:ttbrEL1")) result_.arm = true;
    if (tag.index_count != 0 && tag.indices[0] < kMostVcpus)
      drafts_[tag.indices[0]].add(checkpoint_, tag);
  }

  void give_up(const std::string& why) const {
    diagnostics_.warn(checkpoint_.source()->name(), "no registers: " + why);
  }

  void finish() {
    const std::uint64_t count =
        result_.vcpu_count != 0 ? result_.vcpu_count : drafts_.rbegin()->first + std::uint64_t{1};
    if (count > kMostVcpus) {
      give_up("cpu:numVCPUs " + std::to_string(count) + " is more than there can be");
      return;
    }
    std::vector<const X86Draft*> drafts;
    for (std::uint32_t i = 0; i < count; ++i) {
      const auto draft = drafts_.find(i);
      if (draft == drafts_.end() || !draft->second.usable()) {
        give_up("vCPU " + std::to_string(i) + " has no instruction pointer");
        return;
      }
      drafts.push_back(&draft->second);
    }
    const bool crash_order = choose_order(drafts);
    for (const X86Draft* draft : drafts) result_.vcpus.push_back(draft->registers(crash_order));
    for (const X86Registers& r : result_.vcpus) {
      const auto wide = [](std::uint64_t address) { return address >> 32 != 0; };
      result_.beyond_32_bits |= wide(r.rip) || wide(r.rsp) || wide(r.gdt.base) || wide(r.idt.base);
    }
    if (!std::all_of(drafts.begin(), drafts.end(),
                     [](const X86Draft* draft) { return draft->has_control_registers(); })) {
      diagnostics_.warn(checkpoint_.source()->name(),
                        "control registers are missing, so tools may not find the page tables");
    }
    diagnostics_.decision(checkpoint_.source()->name(),
                          "registers of " + counted(drafts.size(), "vCPU"));
  }

  /// True if packed registers are taken in the order that crash reads: rbp before rsp.
  bool choose_order(const std::vector<const X86Draft*>& drafts) const {
    int votes = 0;
    bool any = false;
    for (const X86Draft* draft : drafts) {
      votes += draft->packed_order();
      any = any || draft->has_packed();
    }
    if (any) {
      const std::string text = votes < 0 ? "rsp before rbp" : "rbp before rsp";
      diagnostics_.decision(checkpoint_.source()->name(),
                            "gpregs hold " + text +
                                (votes == 0 ? ", as crash reads them; nothing here shows it"
                                            : ", by what these values can be"));
    }
    return votes >= 0;
  }

  const Checkpoint& checkpoint_;
  Diagnostics& diagnostics_;
  CpuGroup result_;
  std::map<std::uint32_t, X86Draft> drafts_;
};

}  // namespace

CpuGroup read_cpu_group(const Checkpoint& checkpoint, Diagnostics& diagnostics) {
  return GroupReader(checkpoint, diagnostics).read();
}

}  // namespace vmconvert::vmware
