#include "support/device_payloads.h"
#include "support/pc_stream.h"
#include "support/reading.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

ReadResult read_with(const std::vector<CpuState>& vcpus,
                     const DeviceOptions& first = {.version = 12}) {
  QevmBuilder stream = small_pc(2);
  // In descending order, which is not that of the numbers.
  for (std::size_t i = vcpus.size(); i-- > 0;) {
    stream.device("cpu_common", Bytes(8));
    stream.device(
        "cpu", cpu_state(vcpus[i]),
        {.instance = static_cast<std::uint32_t>(i), .version = i == 0 ? first.version : 12});
  }
  return read_bytes(stream.eos().description().bytes());
}

X86Segment segment(std::uint64_t seed, std::uint64_t offset) {
  return {.selector = static_cast<std::uint32_t>(cpu_value(seed, offset)),
          .limit = static_cast<std::uint32_t>(cpu_value(seed, offset + 12)),
          .flags = static_cast<std::uint32_t>(cpu_value(seed, offset + 16)),
          .base = cpu_value(seed, offset + 4)};
}

X86Registers expected(std::uint64_t seed) {
  const auto value = [&](std::uint64_t offset) { return cpu_value(seed, offset); };
  X86Registers r;
  r.rax = value(0);
  r.rcx = value(8);
  r.rdx = value(16);
  r.rbx = value(24);
  r.rsp = value(32);
  r.rbp = value(40);
  r.rsi = value(48);
  r.rdi = value(56);
  for (std::size_t i = 0; i < 8; ++i) r.r8_to_r15[i] = value(64 + 8 * i);
  r.rip = value(128);
  r.rflags = value(136);
  r.es = segment(seed, 236);
  r.cs = segment(seed, 256);
  r.ss = segment(seed, 276);
  r.ds = segment(seed, 296);
  r.fs = segment(seed, 316);
  r.gs = segment(seed, 336);
  r.ldt = segment(seed, 356);
  r.tr = segment(seed, 376);
  r.gdt = segment(seed, 396);
  r.idt = segment(seed, 416);
  r.cr0 = value(456);
  r.cr2 = value(464);
  r.cr3 = value(472);
  r.cr4 = value(480);
  r.kernel_gs_base = value(856);
  return r;
}

TEST_CASE("vcpus: every register comes from its place in the order of vCPU numbers") {
  const ReadResult result =
      read_with({{.seed = 0}, {.seed = 1}, {.seed = 2, .a20_mask = 0xffefffff}});
  REQUIRE(result.error == "");
  REQUIRE(result.image->vcpus.size() == 3);
  for (std::uint64_t i = 0; i < 3; ++i) CHECK(result.image->vcpus[i] == Vcpu{expected(i)});
  CHECK(result.has_decision("registers of 3 vCPUs"));
}

TEST_CASE("vcpus: version 11 has the same registers") {
  const ReadResult result = read_with({{.seed = 4}}, {.version = 11});
  REQUIRE(result.image->vcpus.size() == 1);
  CHECK(result.image->vcpus[0] == Vcpu{expected(4)});
}

TEST_CASE("vcpus: state of an unknown layout gives no registers and a warning") {
  const auto check_none = [](const ReadResult& result, const std::string& version) {
    REQUIRE(result.error == "");
    CHECK(result.image->vcpus.empty());
    CHECK(result.diagnostics->of(Diagnostics::Level::warning) ==
          std::vector{"input: no registers: the state of vCPU 0 (version " + version +
                      ") is of an unknown layout"});
  };
  check_none(read_with({{}, {}}, {.version = 10}), "10");
  check_none(read_with({{}, {}}, {.version = 13}), "13");
  check_none(read_with({{.a20_mask = 0}}), "12");
  check_none(read_with({{.mxcsr = 0x20000}}), "12");
  check_none(read_with({{.fpregs_format = 1}}), "12");
  QevmBuilder small = small_pc(2);
  small.device("cpu", Bytes(863), {.version = 12}).eos();
  check_none(read_bytes(small.bytes()), "12");
}

}  // namespace
}  // namespace vmconvert::test
