#include <algorithm>
#include <span>

#include "qemu/cpu_registers.h"
#include "vmconvert/base/packed.h"

namespace vmconvert::qemu {
namespace {

// Truth: QEMU 7.2 and 10.0, target/arm/machine.c, vmstate_arm_cpu. Field "cpsr" is PSTATE while its
// bit 4 is clear (AArch64), and the stack pointer in use is xregs[31].
constexpr std::uint64_t kPstateAarch32 = 0x10;

// System registers are a list of ids and a list of values. An id is KVM's
// (Documentation/virt/kvm/api.rst, "ARM 64-bit system registers"), under TCG too:
// 0x6030000000130000 | op0 << 14 | op1 << 11 | CRn << 7 | CRm << 3 | op2.
constexpr std::uint64_t kSctlrEl1 = 0x603000000013c080, kTtbr0El1 = 0x603000000013c100,
                        kTtbr1El1 = 0x603000000013c101, kTcrEl1 = 0x603000000013c102,
                        kMairEl1 = 0x603000000013c510, kVbarEl1 = 0x603000000013c600;
constexpr std::uint64_t kAarch64Id = 0x6030;  // upper 16 bits
constexpr std::uint64_t kMostSystemRegisters = 2048;

// FPSCR, of which AArch64 sees two halves: FPSR holds the status (N, Z, C, V, QC and cumulative
// exceptions), FPCR the controls. Arm ARM, D19.2.
constexpr std::uint32_t kFpsrBits = 0xf800009f, kFpcrBits = 0x07ff9f00;

std::string ids_path() { return "cpreg_vmstate_indexes"; }

class SystemRegisters {
 public:
  explicit SystemRegisters(const DeviceState& state)
      : ids_(state.numbers(ids_path(), 8 * kMostSystemRegisters)),
        values_(state.numbers("cpreg_vmstate_values", 8 * kMostSystemRegisters)) {}

  std::optional<std::uint64_t> find(std::uint64_t id) const {
    if (!ids_ || !values_ || ids_->size() != values_->size()) return std::nullopt;
    const auto found = std::find(ids_->begin(), ids_->end(), id);
    if (found == ids_->end()) return std::nullopt;
    return (*values_)[static_cast<std::size_t>(found - ids_->begin())];
  }

 private:
  std::optional<std::vector<std::uint64_t>> ids_, values_;
};

std::optional<Aarch64Registers::System> read_el1(const DeviceState& state) {
  const SystemRegisters registers(state);
  const auto sctlr = registers.find(kSctlrEl1);
  if (!sctlr) return std::nullopt;
  return Aarch64Registers::System{.ttbr0 = registers.find(kTtbr0El1).value_or(0),
                                  .ttbr1 = registers.find(kTtbr1El1).value_or(0),
                                  .tcr = registers.find(kTcrEl1).value_or(0),
                                  .sctlr = *sctlr,
                                  .mair = registers.find(kMairEl1).value_or(0),
                                  .vbar = registers.find(kVbarEl1).value_or(0)};
}

/// Version 3 of the subsection holds FPSCR as a whole or, where FPSR or FPCR have bits beyond it
/// (QEMU 10.0), leaves it zero and holds both in a subsection of its own.
std::optional<Aarch64Registers::Fp> read_fp(RegisterReader& reader) {
  const std::string vfp = "cpu/vfp/";
  if (!reader.has(vfp + "fpscr")) return std::nullopt;
  Aarch64Registers::Fp fp;
  for (std::size_t i = 0; i < fp.v.size(); ++i) {
    const auto halves = reader.numbers<2>(vfp + "env.vfp.zregs[" + std::to_string(i) + "].d");
    fp.v[i] = {halves[0], halves[1]};
  }
  const std::string own = vfp + "cpu/vfp/fpcr_fpsr/";
  if (reader.has(own + "fpcr") && reader.has(own + "fpsr")) {
    fp.fpcr = reader.number32(own + "fpcr"), fp.fpsr = reader.number32(own + "fpsr");
  } else {
    const auto fpscr = reader.number32(vfp + "fpscr");
    fp.fpsr = fpscr & kFpsrBits, fp.fpcr = fpscr & kFpcrBits;
  }
  return fp;
}

// Version 22; the lists of system registers are as long as the count before them says.
constexpr std::uint32_t kFixedVersion = 22;
constexpr std::uint64_t kCountAt = 568, kListsAt = 572;

}  // namespace

Aarch64Registers read_aarch64_registers(RegisterReader& reader) {
  Aarch64Registers r;
  const auto xregs = reader.numbers<32>("env.xregs");
  std::copy_n(xregs.begin(), r.x.size(), r.x.begin());
  r.sp = xregs[31];
  r.pc = reader.number("env.pc"), r.pstate = reader.number("cpsr");
  r.fp = read_fp(reader);
  r.el1 = read_el1(reader.state());
  return r;
}

bool is_aarch64_cpu(const DeviceState& state) {
  const auto ids = state.numbers(ids_path(), 8 * kMostSystemRegisters);
  return ids && std::any_of(ids->begin(), ids->end(),
                            [](std::uint64_t id) { return id >> 48 == kAarch64Id; });
}

std::optional<DeviceField> fixed_aarch64_layout(const DeviceSection& section,
                                                const ByteSource& source) {
  if (section.version_id != kFixedVersion || section.payload.size() < kListsAt) return std::nullopt;
  std::array<std::byte, 4> word{};
  source.read_at(section.payload.begin() + kCountAt, word);
  const std::uint64_t count = load<std::uint32_t>(word, std::endian::big);
  if (count > kMostSystemRegisters || kListsAt + 16 * count > section.payload.size()) {
    return std::nullopt;
  }
  return DeviceField{"",
                     "",
                     0,
                     kListsAt + 16 * count,
                     1,
                     {{"env.xregs", "uint64", 64, 8, 32, {}},
                      {"env.pc", "uint64", 320, 8, 1, {}},
                      {"cpsr", "cpsr", 328, 4, 1, {}},
                      {ids_path(), "uint64", kListsAt, 8, count, {}},
                      {"cpreg_vmstate_values", "uint64", kListsAt + 8 * count, 8, count, {}}}};
}

}  // namespace vmconvert::qemu
