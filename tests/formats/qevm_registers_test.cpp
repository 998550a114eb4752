#include <cstddef>

#include "qemu/cpu_sections.h"
#include "support/described_state.h"
#include "support/device_payloads.h"
#include "support/pc_stream.h"
#include "support/reading.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

/// A guest of one block with these vCPUs, the last one first in the stream.
QevmBuilder stream_of(std::string_view machine, std::string_view block,
                      const std::vector<DescribedState>& states, std::uint32_t version) {
  QevmBuilder stream = pc(machine).ram_start({{std::string(block), 4096, {}}}).ram_end();
  for (std::size_t i = states.size(); i-- > 0;) {
    stream.device("cpu", states[i].bytes(),
                  states[i].options(static_cast<std::uint32_t>(i), version));
  }
  return stream.eos();
}

ReadResult read_cpus(std::string_view machine, std::string_view block,
                     const std::vector<DescribedState>& states, std::uint32_t version = 1,
                     bool described = true) {
  QevmBuilder stream = stream_of(machine, block, states, version);
  if (described) stream.description();
  return read_bytes(stream.bytes());
}

template <class Registers>
Registers vcpu(const ReadResult& result, std::size_t i) {
  REQUIRE(result.error == "");
  REQUIRE(result.image->vcpus.size() > i);
  return std::get<Registers>(result.image->vcpus[i]);
}

void check_none(const ReadResult& result, const std::string& warning) {
  REQUIRE(result.error == "");
  CHECK(result.image->vcpus.empty());
  const auto warnings = result.diagnostics->of(Diagnostics::Level::warning);
  REQUIRE(!warnings.empty());
  CHECK(warnings.front() == "input: no registers: the state of vCPU " + warning);
}

constexpr std::string_view kArm = "virt-7.2", kArmRam = "mach-virt.ram";

TEST_CASE("registers: aarch64, by name") {
  const std::vector states{aarch64_state(0), aarch64_state(1)};
  const ReadResult result = read_cpus(kArm, kArmRam, states);
  for (std::size_t i = 0; i < 2; ++i) {
    const auto r = vcpu<Aarch64Registers>(result, i);
    const DescribedState& s = states[i];
    for (std::size_t n = 0; n < 31; ++n) CHECK(r.x[n] == s.value("env.xregs", n));
    CHECK(r.sp == s.value("env.xregs", 31));
    CHECK(r.pc == s.value("env.pc"));
    CHECK(r.pstate == 0x600000c5);
    REQUIRE(r.fp);
    for (std::size_t n = 0; n < 32; ++n) {
      const std::string name = "cpu/vfp/env.vfp.zregs[" + std::to_string(n) + "].d";
      CHECK(r.fp->v[n] == Vector128{s.value(name, 0), s.value(name, 1)});
    }
    CHECK(r.fp->fpsr == 0xf800009f);
    CHECK(r.fp->fpcr == 0x07ff9f00);
    CHECK(r.el1 == Aarch64Registers::System{i + 2, i + 3, i + 4, 0x30d0198d, i + 5, i + 6});
  }
  CHECK(result.image->arch == Arch::aarch64);
  CHECK(result.image->byte_order == std::endian::little);
  CHECK(result.has_decision("registers of 2 vCPUs"));
}

TEST_CASE("registers: FPSR and FPCR of an aarch64 CPU from a subsection of their own") {
  DescribedState state = aarch64_state(0);
  state.nested_subsection("cpu/vfp/fpcr_fpsr");
  state.values("fpcr", 8, {0x1000003}).values("fpsr", 8, {0x8000001});
  const auto r = vcpu<Aarch64Registers>(read_cpus(kArm, kArmRam, {state}), 0);
  REQUIRE(r.fp);
  CHECK(r.fp->fpcr == 0x1000003);
  CHECK(r.fp->fpsr == 0x8000001);
}

TEST_CASE("registers: a big-endian aarch64 kernel") {
  const ReadResult result =
      read_cpus(kArm, kArmRam, {aarch64_state(0, 0x3c5, 0x30d0198d | 1U << 25)});
  CHECK(vcpu<Aarch64Registers>(result, 0).pstate == 0x3c5);
  CHECK(result.image->byte_order == std::endian::big);
}

TEST_CASE("registers: 32-bit code on an aarch64 CPU has none that fit") {
  check_none(read_cpus(kArm, kArmRam, {aarch64_state(0, 0x1d3)}, 22),
             "0 (version 22) is that of 32-bit code (AArch32)");
}

TEST_CASE("registers: s390x, by name") {
  const std::vector states{s390x_state(0), s390x_state(1), s390x_state(2)};
  const ReadResult result = read_cpus("s390-ccw-virtio-7.2", "s390.ram", states);
  for (std::size_t i = 0; i < 3; ++i) {
    const auto r = vcpu<S390xRegisters>(result, i);
    const DescribedState& s = states[i];
    CHECK(r.psw_mask == s.value("env.psw.mask"));
    CHECK(r.psw_addr == s.value("env.psw.addr"));
    CHECK(r.prefix == static_cast<std::uint32_t>(s.value("env.psa")));
    CHECK(r.cpu_timer == s.value("env.cputm"));
    CHECK(r.clock_comparator == s.value("env.ckc"));
    CHECK(r.tod_programmable == s.value("env.todpr"));
    REQUIRE(r.fp);
    REQUIRE(r.vrs);
    CHECK(r.fp->fpc == s.value("cpu/fpu/env.fpc"));
    for (std::size_t n = 0; n < 32; ++n) {
      const std::string name = "env.vregs[" + std::to_string(n) + "]";
      const std::uint64_t high = s.value((n < 16 ? "cpu/fpu/" : "cpu/vregs/") + name + "[0]");
      CHECK((*r.vrs)[n] == Vector128{s.value("cpu/vregs/" + name + "[1]"), high});
      if (n >= 16) continue;
      CHECK(r.gprs[n] == s.value("env.regs", n));
      CHECK(r.acrs[n] == s.value("env.aregs", n));
      CHECK(r.crs[n] == s.value("env.cregs", n));
      CHECK(r.fp->fprs[n] == high);
    }
    REQUIRE(r.guarded_storage);
    for (std::size_t n = 0; n < 4; ++n)
      CHECK((*r.guarded_storage)[n] == s.value("cpu/gscb/env.gscb", n));
  }
  CHECK(result.image->arch == Arch::s390x);
  CHECK(result.image->byte_order == std::endian::big);
}

TEST_CASE("registers: ppc64, by name, in either byte order") {
  const std::vector states{ppc64_state(0), ppc64_state(1)};
  const ReadResult result = read_cpus("pseries-7.2", "ppc_spapr.ram", states);
  for (std::size_t i = 0; i < 2; ++i) {
    const auto r = vcpu<Ppc64Registers>(result, i);
    const DescribedState& s = states[i];
    for (std::size_t n = 0; n < 32; ++n) {
      CHECK(r.gpr[n] == s.value("env.gpr", n));
      REQUIRE((r.fp && r.altivec && r.vsx));
      CHECK(r.fp->fpr[n] == s.value("cpu/fpu/env.vsr", n));
      CHECK(r.altivec->vr[n] == Vector128{i + 9, ~(i + 9)});
      CHECK((*r.vsx)[n] == s.value("cpu/vsx/env.vsr", n));
    }
    CHECK(r.nip == s.value("env.nip"));
    CHECK(r.msr == s.value("env.msr"));
    CHECK(r.cr == 0x12345678 + i);
    const std::uint64_t sprs = i * 0x100000000;
    CHECK(r.xer == sprs + 1);
    CHECK(r.lr == sprs + 8);
    CHECK(r.ctr == sprs + 9);
    CHECK(r.page_table_pid == sprs + 48);
    CHECK(r.altivec->vrsave == 256);
    CHECK(r.altivec->vscr == s.value("cpu/altivec/vscr"));
    CHECK(r.fp->fpscr == s.value("cpu/fpu/env.fpscr"));
  }
  CHECK(result.image->arch == Arch::ppc64);
  CHECK(result.image->byte_order == std::endian::little);
  CHECK(read_cpus("pseries-7.2", "ppc_spapr.ram", {ppc64_state(0, 0)}).image->byte_order ==
        std::endian::big);
}

TEST_CASE("registers: the byte order of a ppc64 guest on bare metal is that of its mode") {
  constexpr std::uint64_t kHypervisor = std::uint64_t{1} << 60, kIle = 1 << 25;
  const auto order = [](std::uint64_t msr, std::uint64_t lpcr) {
    Ppc64Registers r;
    r.msr = msr, r.lpcr = lpcr;
    return qemu::guest_byte_order(Arch::ppc64, std::vector<Vcpu>{r});
  };
  CHECK(order(kHypervisor | 1, 0) == std::endian::little);
  CHECK(order(kHypervisor, kIle) == std::endian::big);
  CHECK(order(0, kIle) == std::endian::little);
  CHECK(order(1, 0) == std::endian::big);
}

TEST_CASE("registers: riscv64, by name") {
  const DescribedState s = riscv64_state(3);
  const ReadResult result = read_cpus("virt", "riscv_virt_board.ram", {s}, 5);
  const auto r = vcpu<Riscv64Registers>(result, 0);
  for (std::size_t n = 0; n < 32; ++n) CHECK(r.x[n] == s.value("env.gpr", n));
  CHECK(r.pc == s.value("env.pc"));
  CHECK(r.privilege == s.value("env.priv"));
  CHECK(r.satp == s.value("env.satp"));
  CHECK(r.stvec == s.value("env.stvec"));
  CHECK(r.sscratch == s.value("env.sscratch"));
  CHECK(r.mstatus == s.value("env.mstatus"));
  CHECK(result.image->arch == Arch::riscv64);
}

TEST_CASE("registers: x86, by name, from either build of QEMU and in either mode") {
  struct Row {
    unsigned long_size;
    std::uint64_t hflags;
    Arch arch;
  };
  for (const Row& row : {Row{8, 0x4000, Arch::x86_64}, Row{8, 0x8000, Arch::i386},
                         Row{4, 0x4000, Arch::i386}, Row{4, 0, Arch::i386}}) {
    CAPTURE(row.long_size);
    CAPTURE(row.hflags);
    const DescribedState s = x86_state(5, row.long_size, row.hflags);
    const ReadResult result = read_cpus("pc-q35-10.0", "pc.ram", {s}, 12);
    const auto r = vcpu<X86Registers>(result, 0);
    CHECK(result.image->arch == row.arch);
    CHECK(r.long_mode == (row.arch == Arch::x86_64));
    CHECK(r.rcx == s.value("env.regs", 1));
    CHECK(r.rsp == s.value("env.regs", 4));
    CHECK(r.rdi == s.value("env.regs", 7));
    CHECK(r.r8_to_r15[7] == (row.long_size == 8 ? s.value("env.regs", 15) : 0));
    CHECK(r.rip == s.value("env.eip"));
    CHECK(r.rflags == s.value("env.eflags"));
    CHECK(r.gs.selector == s.value("env.segs[5]/selector"));
    CHECK(r.gs.base == s.value("env.segs[5]/base"));
    CHECK(r.gs.limit == s.value("env.segs[5]/limit"));
    CHECK(r.gs.flags == s.value("env.segs[5]/flags"));
    CHECK(r.es.selector == s.value("env.segs[0]/selector"));
    CHECK(r.cs.selector == s.value("env.segs[1]/selector"));
    CHECK(r.idt.base == s.value("env.idt/base"));
    CHECK(r.cr0 == s.value("env.cr[0]"));
    CHECK(r.cr4 == s.value("env.cr[4]"));
    CHECK(r.kernel_gs_base == (row.long_size == 8 ? s.value("env.kernelgsbase") : 0));
  }
}

TEST_CASE("registers: without a description, from the versions whose layout is known") {
  const ReadResult arm = read_cpus(kArm, kArmRam, {aarch64_state(0)}, 22, false);
  const auto a = vcpu<Aarch64Registers>(arm, 0);
  CHECK(a.pc == aarch64_state(0).value("env.pc"));
  CHECK(a.x[30] == aarch64_state(0).value("env.xregs", 30));
  CHECK(!a.fp);
  CHECK(a.el1 == Aarch64Registers::System{2, 3, 4, 0x30d0198d, 5, 6});

  const auto z = vcpu<S390xRegisters>(
      read_cpus("s390-ccw-virtio-7.2", "s390.ram", {s390x_state(0)}, 4, false), 0);
  CHECK(z.psw_addr == s390x_state(0).value("env.psw.addr"));
  CHECK(z.clock_comparator == s390x_state(0).value("env.ckc"));
  CHECK(z.acrs[15] == s390x_state(0).value("env.aregs", 15));
  CHECK(z.crs[15] == s390x_state(0).value("env.cregs", 15));
  CHECK(!z.fp);
  CHECK(!z.vrs);
  CHECK(!z.guarded_storage);

  const ReadResult ppc = read_cpus("pseries-7.2", "ppc_spapr.ram", {ppc64_state(0)}, 5, false);
  const auto p = vcpu<Ppc64Registers>(ppc, 0);
  CHECK(p.nip == ppc64_state(0).value("env.nip"));
  CHECK(p.msr == ppc64_state(0).value("env.msr"));
  CHECK(p.lr == 8);
  CHECK(p.cr == 0x12345678);
  CHECK(!p.fp);
  CHECK(ppc.image->byte_order == std::endian::little);
}

TEST_CASE("registers: without a description, of no other version") {
  check_none(read_cpus(kArm, kArmRam, {aarch64_state(0)}, 21, false),
             "0 (version 21) is of an unknown layout");
  check_none(read_cpus("s390-ccw-virtio-7.2", "s390.ram", {s390x_state(0)}, 5, false),
             "0 (version 5) is of an unknown layout");
  const ReadResult ppc = read_cpus("pseries-7.2", "ppc_spapr.ram", {ppc64_state(0)}, 6, false);
  check_none(ppc, "0 (version 6) is of an unknown layout");
  CHECK(ppc.has_warning("byte order not known without registers, taken to be little-endian"));
  check_none(read_cpus("virt", "riscv_virt_board.ram", {riscv64_state(0)}, 5, false),
             "0 (version 5) is of an unknown layout");
}

TEST_CASE("registers: a list of system registers that the section cannot hold") {
  Bytes bytes = aarch64_state(0).bytes();
  bytes[568] = std::byte{1};
  QevmBuilder stream = pc(kArm).ram_start({{std::string(kArmRam), 4096, {}}}).ram_end();
  stream.device("cpu", bytes, {.version = 22}).eos();
  check_none(read_bytes(stream.bytes()), "0 (version 22) is of an unknown layout");
}

TEST_CASE("registers: a section that lacks a field or is not as long as described") {
  DescribedState incomplete;
  incomplete.field("env.xregs", 8, 32).values("cpsr", 4, {0x3c5});
  incomplete.values("cpreg_vmstate_indexes", 8, {0x603000000013c080});
  check_none(read_cpus(kArm, kArmRam, {incomplete}, 40),
             "0 (version 40) has no usable field \"env.pc\"");
  DescribedState second = aarch64_state(1);
  second.field("env.pc", 8);
  QevmBuilder stream = pc(kArm).ram_start({{std::string(kArmRam), 4096, {}}}).ram_end();
  const DescribedState first = aarch64_state(0);
  stream.device("cpu", first.bytes(), first.options(0, 30));
  Bytes longer = second.bytes();
  longer.push_back(std::byte{0});
  stream.device("cpu", longer, second.options(1, 30)).eos().description();
  check_none(read_bytes(stream.bytes()), "1 (version 30) is of an unknown layout");
}

TEST_CASE("registers: a vCPU that comes twice, and more of them than a machine has") {
  QevmBuilder twice = pc().ram_start({{"pc.ram", 4096, {}}}).ram_end();
  twice.device("cpu", cpu_state({}), {.instance = 3, .version = 12});
  twice.device("cpu", cpu_state({}), {.instance = 3, .version = 12});
  check_none(read_bytes(twice.eos().bytes()), "3 (version 12) comes twice");
  QevmBuilder many = pc().ram_start({{"pc.ram", 4096, {}}}).ram_end();
  for (std::uint32_t i = 0; i <= 4096; ++i) many.device("cpu", Bytes(8), {.instance = i});
  check_none(read_bytes(many.eos().bytes()), "4096 (version 1) is of one vCPU too many");
}

TEST_CASE("registers: CPUs of 32 bits are refused") {
  const auto message = [](const ReadResult& result) {
    CHECK(result.kind == ErrorKind::unsupported);
    return result.error;
  };
  CHECK(message(read_cpus("virt", "riscv_virt_board.ram", {riscv64_state(0, 4)})) ==
        "input: machine type \"virt\" with 32-bit CPUs is not supported");
  DescribedState arm;
  arm.field("env.xregs", 8, 32).values("cpreg_vmstate_indexes", 8, {0x4020000000120000});
  CHECK(message(read_cpus("virt-7.2", "mach-virt.ram", {arm})) ==
        "input: machine type \"virt-7.2\" with 32-bit CPUs is not supported");
}

}  // namespace
}  // namespace vmconvert::test
