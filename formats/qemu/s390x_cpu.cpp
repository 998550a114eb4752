#include <span>

#include "qemu/cpu_registers.h"
#include "vmconvert/base/packed.h"

namespace vmconvert::qemu {
namespace {

// Truth: QEMU 7.2 and 10.0, target/s390x/machine.c, vmstate_s390_cpu. A vector register is in two
// halves, [0] the more significant one, which is the floating point register of the same number.
std::string vreg(std::size_t number, int half) {
  return "env.vregs[" + std::to_string(number) + "][" + std::to_string(half) + "]";
}

std::optional<S390xRegisters::Fp> read_fp(RegisterReader& reader) {
  const std::string fpu = "cpu/fpu/";
  if (!reader.has(fpu + "env.fpc")) return std::nullopt;
  S390xRegisters::Fp fp;
  fp.fpc = reader.number32(fpu + "env.fpc");
  for (std::size_t i = 0; i < fp.fprs.size(); ++i) fp.fprs[i] = reader.number(fpu + vreg(i, 0));
  return fp;
}

/// A CPU without the vector facility has no subsection for it, and QEMU zeros in its place.
std::array<Vector128, 32> read_vectors(RegisterReader& reader, const S390xRegisters::Fp& fp) {
  const std::string vregs = "cpu/vregs/";
  const bool has = reader.has(vregs + vreg(0, 1));
  std::array<Vector128, 32> vectors{};
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    if (i < fp.fprs.size()) {
      vectors[i][1] = fp.fprs[i];
    } else if (has) {
      vectors[i][1] = reader.number(vregs + vreg(i, 0));
    }
    if (has) vectors[i][0] = reader.number(vregs + vreg(i, 1));
  }
  return vectors;
}

/// The same for the guarded storage facility.
std::array<std::uint64_t, 4> read_guarded_storage(RegisterReader& reader) {
  const std::string path = "cpu/gscb/env.gscb";
  return reader.has(path) ? reader.numbers<4>(path) : std::array<std::uint64_t, 4>{};
}

constexpr std::uint32_t kOldestFixedVersion = 3, kNewestFixedVersion = 4;
constexpr std::uint64_t kFixedSize = 406;

}  // namespace

S390xRegisters read_s390x_registers(RegisterReader& reader) {
  S390xRegisters r;
  r.gprs = reader.numbers<16>("env.regs");
  r.psw_mask = reader.number("env.psw.mask"), r.psw_addr = reader.number("env.psw.addr");
  r.prefix = reader.number32("env.psa"), r.tod_programmable = reader.number32("env.todpr");
  r.cpu_timer = reader.number("env.cputm"), r.clock_comparator = reader.number("env.ckc");
  r.crs = reader.numbers<16>("env.cregs");
  const auto acrs = reader.numbers<16>("env.aregs");
  for (std::size_t i = 0; i < acrs.size(); ++i) r.acrs[i] = static_cast<std::uint32_t>(acrs[i]);
  r.fp = read_fp(reader);
  if (r.fp) {  // always saved: without it, subsections are not described
    r.vrs = read_vectors(reader, *r.fp);
    r.guarded_storage = read_guarded_storage(reader);
  }
  return r;
}

std::optional<DeviceField> fixed_s390x_layout(const DeviceSection& section, const ByteSource&) {
  if (section.version_id < kOldestFixedVersion || section.version_id > kNewestFixedVersion ||
      section.payload.size() < kFixedSize) {
    return std::nullopt;
  }
  return DeviceField{"",
                     "",
                     0,
                     kFixedSize,
                     1,
                     {{"env.regs", "uint64", 0, 8, 16, {}},
                      {"env.psw.mask", "uint64", 128, 8, 1, {}},
                      {"env.psw.addr", "uint64", 136, 8, 1, {}},
                      {"env.psa", "uint64", 144, 8, 1, {}},
                      {"env.todpr", "uint32", 152, 4, 1, {}},
                      {"env.cputm", "uint64", 180, 8, 1, {}},
                      {"env.ckc", "uint64", 188, 8, 1, {}},
                      {"env.aregs", "uint32", 212, 4, 16, {}},
                      {"env.cregs", "uint64", 276, 8, 16, {}}}};
}

}  // namespace vmconvert::qemu
