#include <span>

#include "qemu/cpu_registers.h"
#include "vmconvert/base/packed.h"

namespace vmconvert::qemu {
namespace {

// Truth: QEMU 7.2 and 10.0, target/ppc/machine.c, vmstate_ppc_cpu. Special purpose registers by
// number: target/ppc/cpu.h.
constexpr std::size_t kSprXer = 1, kSprLr = 8, kSprCtr = 9, kSprPid = 48, kSprVrsave = 256,
                      kSprLpcr = 318;
constexpr std::size_t kSprs = 1024;

/// Fields of these three subsections have one name, env.vsr: floating point, Altivec and VSX
/// registers are parts of one register file.
std::optional<Ppc64Registers::Fp> read_fp(RegisterReader& reader) {
  if (!reader.has("cpu/fpu/env.vsr")) return std::nullopt;
  return Ppc64Registers::Fp{reader.numbers<32>("cpu/fpu/env.vsr"),
                            reader.number("cpu/fpu/env.fpscr")};
}

std::optional<Ppc64Registers::Altivec> read_altivec(RegisterReader& reader, std::uint64_t vrsave) {
  // QEMU writes the halves in the order in which its host has them in memory; hosts are
  // little-endian.
  constexpr std::size_t kSize = 32 * 16;
  const auto bytes = reader.state().bytes("cpu/altivec/env.vsr", kSize);
  if (!bytes || bytes->size() != kSize) return std::nullopt;
  Ppc64Registers::Altivec altivec;
  for (std::size_t i = 0; i < altivec.vr.size(); ++i) {
    const auto one = std::span(*bytes).subspan(16 * i, 16);
    altivec.vr[i] = {load<std::uint64_t>(one, std::endian::big),
                     load<std::uint64_t>(one.subspan(8), std::endian::big)};
  }
  altivec.vscr = reader.number32("cpu/altivec/vscr");
  altivec.vrsave = static_cast<std::uint32_t>(vrsave);
  return altivec;
}

constexpr std::uint32_t kFixedVersion = 5;
constexpr std::uint64_t kFixedSize = 8528;

}  // namespace

Ppc64Registers read_ppc64_registers(RegisterReader& reader) {
  Ppc64Registers r;
  r.gpr = reader.numbers<32>("env.gpr");
  r.nip = reader.number("env.nip"), r.msr = reader.number("env.msr");
  for (const std::uint64_t field : reader.numbers<8>("env.crf")) {
    r.cr = r.cr << 4 | (static_cast<std::uint32_t>(field) & 0xf);
  }
  const auto spr = reader.numbers<kSprs>("env.spr");
  r.xer = spr[kSprXer], r.lr = spr[kSprLr], r.ctr = spr[kSprCtr];
  r.lpcr = spr[kSprLpcr], r.page_table_pid = spr[kSprPid];
  r.fp = read_fp(reader);
  r.altivec = read_altivec(reader, spr[kSprVrsave]);
  if (reader.has("cpu/vsx/env.vsr")) r.vsx = reader.numbers<32>("cpu/vsx/env.vsr");
  return r;
}

std::optional<DeviceField> fixed_ppc64_layout(const DeviceSection& section, const ByteSource&) {
  if (section.version_id != kFixedVersion || section.payload.size() < kFixedSize) {
    return std::nullopt;
  }
  return DeviceField{"",
                     "",
                     0,
                     kFixedSize,
                     1,
                     {{"env.gpr", "uint64", 8, 8, 32, {}},
                      {"env.crf", "uint32", 264, 4, 8, {}},
                      {"env.nip", "uint64", 296, 8, 1, {}},
                      {"env.spr", "uint64", 304, 8, kSprs, {}},
                      {"env.msr", "uint64", 8512, 8, 1, {}}}};
}

}  // namespace vmconvert::qemu
