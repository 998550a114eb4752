#include <array>
#include <span>

#include "qemu/cpu_registers.h"
#include "vmconvert/base/packed.h"

namespace vmconvert::qemu {
namespace {

// Truth: QEMU 7.2 and 10.0, target/i386/machine.c, vmstate_x86_cpu. The names are the same in every
// version and in the 32-bit build, whose general registers, bases and control registers are 4 bytes
// wide, and which has no kernelgsbase.
constexpr std::uint64_t kHflagsLongMode = std::uint64_t{1}
                                          << 14;  // HF_LMA_SHIFT, target/i386/cpu.h

X86Segment read_segment(RegisterReader& reader, const std::string& path) {
  return {.selector = reader.number32(path + "/selector"),
          .limit = reader.number32(path + "/limit"),
          .flags = reader.number32(path + "/flags"),
          .base = reader.number(path + "/base")};
}

// Versions 11 and 12 of the 64-bit build. A 32-bit build of QEMU writes other sizes under the same
// version; these fields tell.
constexpr std::size_t kFpregsFormatAt = 154, kA20MaskAt = 552, kMxcsrAt = 556, kUsed = 864;
constexpr std::uint32_t kOldestVersion = 11, kNewestVersion = 12;
constexpr std::uint32_t kA20On = 0xffffffff, kA20Off = 0xffefffff;
constexpr std::uint32_t kMxcsrEnd = 0x20000;

bool is_64_bit_build(const DeviceSection& section, const ByteSource& source) {
  std::array<std::byte, kUsed> bytes{};
  source.read_at(section.payload.begin(), bytes);
  const auto at = [&](std::size_t offset) { return std::span(bytes).subspan(offset); };
  const auto format = load<std::uint16_t>(at(kFpregsFormatAt), std::endian::big);
  const auto a20 = load<std::uint32_t>(at(kA20MaskAt), std::endian::big);
  const auto mxcsr = load<std::uint32_t>(at(kMxcsrAt), std::endian::big);
  return format == 0 && (a20 == kA20On || a20 == kA20Off) && mxcsr < kMxcsrEnd;
}

DeviceField segment_field(std::string name, std::uint64_t offset, std::uint64_t count = 1) {
  return {std::move(name),
          "struct",
          offset,
          20,
          count,
          {{"selector", "uint32", 0, 4, 1, {}},
           {"base", "uint64", 4, 8, 1, {}},
           {"limit", "uint32", 12, 4, 1, {}},
           {"flags", "uint32", 16, 4, 1, {}}}};
}

}  // namespace

X86Registers read_x86_registers(RegisterReader& reader) {
  const auto& state = reader.state();
  X86Registers r;
  const auto all = state.numbers("env.regs");
  const bool wide = all && all->size() == 16;
  const auto regs = reader.numbers<8>("env.regs");
  r.rax = regs[0], r.rcx = regs[1], r.rdx = regs[2], r.rbx = regs[3];
  r.rsp = regs[4], r.rbp = regs[5], r.rsi = regs[6], r.rdi = regs[7];
  for (std::size_t i = 0; wide && i < r.r8_to_r15.size(); ++i) r.r8_to_r15[i] = (*all)[8 + i];
  r.rip = reader.number("env.eip"), r.rflags = reader.number("env.eflags");
  r.es = read_segment(reader, "env.segs[0]"), r.cs = read_segment(reader, "env.segs[1]");
  r.ss = read_segment(reader, "env.segs[2]"), r.ds = read_segment(reader, "env.segs[3]");
  r.fs = read_segment(reader, "env.segs[4]"), r.gs = read_segment(reader, "env.segs[5]");
  r.ldt = read_segment(reader, "env.ldt"), r.tr = read_segment(reader, "env.tr");
  r.gdt = read_segment(reader, "env.gdt"), r.idt = read_segment(reader, "env.idt");
  r.cr0 = reader.number("env.cr[0]"), r.cr2 = reader.number("env.cr[2]");
  r.cr3 = reader.number("env.cr[3]"), r.cr4 = reader.number("env.cr[4]");
  if (wide) r.kernel_gs_base = reader.number("env.kernelgsbase");
  r.long_mode = wide && (reader.number("env.hflags") & kHflagsLongMode) != 0;
  return r;
}

std::optional<DeviceField> fixed_x86_layout(const DeviceSection& section,
                                            const ByteSource& source) {
  if (section.version_id < kOldestVersion || section.version_id > kNewestVersion ||
      section.payload.size() < kUsed || !is_64_bit_build(section, source)) {
    return std::nullopt;
  }
  return DeviceField{"",
                     "",
                     0,
                     kUsed,
                     1,
                     {{"env.regs", "uint64", 0, 8, 16, {}},
                      {"env.eip", "uint64", 128, 8, 1, {}},
                      {"env.eflags", "uint64", 136, 8, 1, {}},
                      {"env.hflags", "uint32", 144, 4, 1, {}},
                      segment_field("env.segs", 236, 6),
                      segment_field("env.ldt", 356),
                      segment_field("env.tr", 376),
                      segment_field("env.gdt", 396),
                      segment_field("env.idt", 416),
                      {"env.cr[0]", "uint64", 456, 8, 1, {}},
                      {"env.cr[2]", "uint64", 464, 8, 1, {}},
                      {"env.cr[3]", "uint64", 472, 8, 1, {}},
                      {"env.cr[4]", "uint64", 480, 8, 1, {}},
                      {"env.kernelgsbase", "uint64", 856, 8, 1, {}}}};
}

}  // namespace vmconvert::qemu
