#include "qemu/x86_cpu.h"

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <string>

#include "vmconvert/base/packed.h"
#include "vmconvert/base/text.h"

namespace vmconvert::qemu {
namespace {

// Truth: QEMU 7.2 and 10.0, target/i386/machine.c, vmstate_x86_cpu versions 11 and 12, 64-bit
// build; big-endian. The part used here:
//     0 regs[16] u64: rax rcx rdx rbx rsp rbp rsi rdi r8..r15     128 eip   136 eflags
//   154 fpregs_format u16   236 es cs ss ds fs gs   356 ldt   376 tr   396 gdt   416 idt
//   456 cr0 cr2 cr3 cr4 u64   552 a20_mask u32   556 mxcsr u32   856 kernelgsbase u64
// A segment is u32 selector, u64 base, u32 limit, u32 flags.
constexpr std::size_t kUsed = 864;
constexpr std::uint32_t kOldestVersion = 11, kNewestVersion = 12;
constexpr std::uint32_t kA20On = 0xffffffff, kA20Off = 0xffefffff;
constexpr std::uint32_t kMxcsrEnd = 0x20000;

class CpuState {
 public:
  explicit CpuState(std::span<const std::byte, kUsed> bytes) : bytes_(bytes) {}

  /// A 32-bit build of QEMU writes other sizes under the same version; these fields tell.
  bool is_known_layout() const {
    const auto a20 = u32(552);
    return u16(154) == 0 && (a20 == kA20On || a20 == kA20Off) && u32(556) < kMxcsrEnd;
  }

  X86Registers registers() const {
    X86Registers r;
    r.rax = u64(0), r.rcx = u64(8), r.rdx = u64(16), r.rbx = u64(24);
    r.rsp = u64(32), r.rbp = u64(40), r.rsi = u64(48), r.rdi = u64(56);
    for (std::size_t i = 0; i < r.r8_to_r15.size(); ++i) r.r8_to_r15[i] = u64(64 + 8 * i);
    r.rip = u64(128), r.rflags = u64(136);
    r.es = segment(236), r.cs = segment(256), r.ss = segment(276), r.ds = segment(296);
    r.fs = segment(316), r.gs = segment(336), r.ldt = segment(356), r.tr = segment(376);
    r.gdt = segment(396), r.idt = segment(416);
    r.cr0 = u64(456), r.cr2 = u64(464), r.cr3 = u64(472), r.cr4 = u64(480);
    r.kernel_gs_base = u64(856);
    return r;
  }

 private:
  template <class T>
  T at(std::size_t offset) const {
    return load<T>(std::span<const std::byte>(bytes_).subspan(offset), std::endian::big);
  }
  std::uint16_t u16(std::size_t offset) const { return at<std::uint16_t>(offset); }
  std::uint32_t u32(std::size_t offset) const { return at<std::uint32_t>(offset); }
  std::uint64_t u64(std::size_t offset) const { return at<std::uint64_t>(offset); }
  X86Segment segment(std::size_t offset) const {
    return {.selector = u32(offset),
            .limit = u32(offset + 12),
            .flags = u32(offset + 16),
            .base = u64(offset + 4)};
  }

  std::span<const std::byte, kUsed> bytes_;
};

std::optional<X86Registers> read_vcpu(const DeviceSection& section, const ByteSource& source) {
  if (section.version_id < kOldestVersion || section.version_id > kNewestVersion ||
      section.payload.size() < kUsed) {
    return std::nullopt;
  }
  std::array<std::byte, kUsed> bytes{};
  source.read_at(section.payload.begin(), bytes);
  const CpuState state(bytes);
  if (!state.is_known_layout()) return std::nullopt;
  return state.registers();
}

}  // namespace

std::vector<Vcpu> read_x86_vcpus(const QevmStream& stream, const ByteSource& source,
                                         Diagnostics& diagnostics) {
  std::vector<const DeviceSection*> sections;
  for (const DeviceSection& section : stream.sections) {
    if (section.idstr == "cpu") sections.push_back(&section);
  }
  std::sort(sections.begin(), sections.end(), [](const DeviceSection* a, const DeviceSection* b) {
    return a->instance_id < b->instance_id;
  });
  std::vector<Vcpu> vcpus;
  for (const DeviceSection* section : sections) {
    const auto vcpu = read_vcpu(*section, source);
    if (!vcpu) {
      diagnostics.warn(source.name(), "no registers: the state of vCPU " +
                                          std::to_string(section->instance_id) + " (version " +
                                          std::to_string(section->version_id) +
                                          ") is of an unknown layout");
      return {};
    }
    vcpus.push_back(*vcpu);
  }
  diagnostics.decision(source.name(), "registers of " + counted(vcpus.size(), "vCPU"));
  return vcpus;
}

}  // namespace vmconvert::qemu
