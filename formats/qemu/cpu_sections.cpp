#include "qemu/cpu_sections.h"

#include <algorithm>
#include <string>
#include <utility>

#include "qemu/cpu_registers.h"
#include "vmconvert/base/text.h"

namespace vmconvert::qemu {
namespace {

/// A field that only the CPUs of this architecture have.
struct CpuSign {
  std::string_view field;
  Arch arch;
};
constexpr std::array kSigns{CpuSign{"env.segs", Arch::x86_64}, CpuSign{"env.xregs", Arch::aarch64},
                            CpuSign{"env.psw.mask", Arch::s390x}, CpuSign{"env.crf", Arch::ppc64},
                            CpuSign{"env.misa_mxl", Arch::riscv64}};

// QEMU 10 has at most 4096 (q35).
constexpr std::size_t kMostVcpus = 4096;

std::optional<DeviceField> fixed_layout(Arch arch, const DeviceSection& section,
                                        const ByteSource& source) {
  switch (arch) {
    case Arch::i386:
    case Arch::x86_64:
      return fixed_x86_layout(section, source);
    case Arch::aarch64:
      return fixed_aarch64_layout(section, source);
    case Arch::s390x:
      return fixed_s390x_layout(section, source);
    case Arch::ppc64:
      return fixed_ppc64_layout(section, source);
    case Arch::riscv64:
      break;
  }
  return std::nullopt;
}

Vcpu read_registers(Arch arch, RegisterReader& reader) {
  switch (arch) {
    case Arch::aarch64:
      return read_aarch64_registers(reader);
    case Arch::s390x:
      return read_s390x_registers(reader);
    case Arch::ppc64:
      return read_ppc64_registers(reader);
    case Arch::riscv64:
      return read_riscv64_registers(reader);
    case Arch::i386:
    case Arch::x86_64:
      break;
  }
  return read_x86_registers(reader);
}

/// PSTATE of a vCPU in AArch32 state has this bit.
bool is_aarch32(const Vcpu& vcpu) {
  const auto* aarch64 = std::get_if<Aarch64Registers>(&vcpu);
  return aarch64 != nullptr && (aarch64->pstate & 0x10) != 0;
}

}  // namespace

CpuSections::CpuSections(const QevmStream& stream, const ByteSource& source) : source_(&source) {
  for (const DeviceSection& section : stream.sections) {
    if (section.idstr == "cpu") sections_.push_back(&section);
  }
  std::sort(sections_.begin(), sections_.end(), [](const DeviceSection* a, const DeviceSection* b) {
    return a->instance_id < b->instance_id;
  });
  if (!sections_.empty()) fields_ = DeviceFields::read(stream, source);
}

const DeviceField* CpuSections::description(const DeviceSection& section) const {
  const DeviceField* root = fields_ ? fields_->find(section.idstr, section.instance_id) : nullptr;
  if (root == nullptr || !section.sized || root->size != section.payload.size()) return nullptr;
  const bool names_registers = std::any_of(kSigns.begin(), kSigns.end(), [&](const CpuSign& sign) {
    return find_field(*root, sign.field).has_value();
  });
  return names_registers ? root : nullptr;
}

std::optional<CpuKind> CpuSections::kind() const {
  if (sections_.empty()) return std::nullopt;
  const DeviceField* root = description(*sections_.front());
  if (root == nullptr) return std::nullopt;
  for (const CpuSign& sign : kSigns) {
    if (!find_field(*root, sign.field)) continue;
    if (sign.arch == Arch::aarch64) {
      return CpuKind{sign.arch, is_aarch64_cpu(DeviceState(*source_, *sections_.front(), *root))};
    }
    const auto general = find_field(*root, "env.gpr");
    return CpuKind{sign.arch, !general || general->size == 8};
  }
  return std::nullopt;
}

std::vector<Vcpu> CpuSections::read(Arch arch, Diagnostics& diagnostics) const {
  std::vector<Vcpu> vcpus;
  const auto give_up = [&](const DeviceSection& section, const std::string& why) {
    diagnostics.warn(source_->name(), "no registers: the state of vCPU " +
                                          std::to_string(section.instance_id) + " (version " +
                                          std::to_string(section.version_id) + ") " + why);
    return std::vector<Vcpu>();
  };
  if (sections_.size() > kMostVcpus) {
    return give_up(*sections_[kMostVcpus], "is of one vCPU too many");
  }
  for (const DeviceSection* section : sections_) {
    // Sections that share a description would let a small file cost much time.
    if (!vcpus.empty() && section->instance_id == sections_[vcpus.size() - 1]->instance_id) {
      return give_up(*section, "comes twice");
    }
    std::optional<DeviceField> fixed;
    const DeviceField* root = description(*section);
    if (root == nullptr) {
      fixed = fixed_layout(arch, *section, *source_);
      if (!fixed) return give_up(*section, "is of an unknown layout");
      root = &*fixed;
    }
    const DeviceState state(*source_, *section, *root);
    RegisterReader reader(state);
    vcpus.push_back(read_registers(arch, reader));
    if (!reader.missing().empty()) {
      return give_up(*section, "has no usable field " + quoted(reader.missing()));
    }
    if (is_aarch32(vcpus.back())) return give_up(*section, "is that of 32-bit code (AArch32)");
  }
  diagnostics.decision(source_->name(), "registers of " + counted(vcpus.size(), "vCPU"));
  return vcpus;
}

std::endian guest_byte_order(Arch arch, std::span<const Vcpu> vcpus) {
  // SCTLR_EL1.EE: of data accesses of the kernel. LPCR.ILE: of interrupt handlers of a guest of a
  // hypervisor, as pseries machines are; on bare metal, where MSR.HV is set, the mode of now.
  constexpr std::uint64_t kSctlrEe = std::uint64_t{1} << 25, kLpcrIle = std::uint64_t{1} << 25,
                          kMsrHv = std::uint64_t{1} << 60, kMsrLe = 1;
  if (arch == Arch::s390x) return std::endian::big;
  if (vcpus.empty()) return std::endian::little;
  if (const auto* arm = std::get_if<Aarch64Registers>(&vcpus.front())) {
    const bool big = arm->el1 && (arm->el1->sctlr & kSctlrEe) != 0;
    return big ? std::endian::big : std::endian::little;
  }
  if (const auto* ppc = std::get_if<Ppc64Registers>(&vcpus.front())) {
    const bool little =
        (ppc->msr & kMsrHv) != 0 ? (ppc->msr & kMsrLe) != 0 : (ppc->lpcr & kLpcrIle) != 0;
    return little ? std::endian::little : std::endian::big;
  }
  return std::endian::little;
}

}  // namespace vmconvert::qemu
