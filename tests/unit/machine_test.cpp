#include "vmconvert/model/machine.h"

#include "support/collecting_diagnostics.h"
#include "support/test.h"
#include "vmconvert/model/lost_memory.h"

namespace vmconvert::test {
namespace {

TEST_CASE("machine: names of uname are known, whatever their case") {
  CHECK(machine_by_name("x86_64") == GuestMachine{Arch::x86_64, std::endian::little});
  CHECK(machine_by_name("i686") == GuestMachine{Arch::i386, std::endian::little});
  CHECK(machine_by_name("S390X") == GuestMachine{Arch::s390x, std::endian::big});
  CHECK(machine_by_name("ppc64le") == GuestMachine{Arch::ppc64, std::endian::little});
  CHECK(machine_by_name("ppc64") == GuestMachine{Arch::ppc64, std::endian::big});
  for (const char* name : {"", "Unknown", "i786", "x86", "armv7l", "riscv32"}) {
    CAPTURE(name);
    CHECK_FALSE(machine_by_name(name));
  }
  CHECK(machine_names() == "i386, x86_64, aarch64, aarch64_be, s390x, ppc64, ppc64le, riscv64");
}

TEST_CASE("machine: ELF names a machine by class, order and number") {
  constexpr auto kLittle = std::endian::little, kBig = std::endian::big;
  CHECK(machine_by_elf(true, kLittle, 62)->arch == Arch::x86_64);
  CHECK(machine_by_elf(true, kLittle, 3)->arch == Arch::i386);
  CHECK(machine_by_elf(false, kLittle, 3)->arch == Arch::i386);
  CHECK(machine_by_elf(true, kLittle, 183)->arch == Arch::aarch64);
  CHECK(machine_by_elf(true, kBig, 22)->arch == Arch::s390x);
  CHECK(machine_by_elf(true, kBig, 21) == GuestMachine{Arch::ppc64, kBig});
  CHECK(machine_by_elf(true, kLittle, 21) == GuestMachine{Arch::ppc64, kLittle});
  CHECK(machine_by_elf(true, kLittle, 243)->arch == Arch::riscv64);
  CHECK_FALSE(machine_by_elf(true, kBig, 62));
  CHECK_FALSE(machine_by_elf(false, kLittle, 62));   // x32
  CHECK_FALSE(machine_by_elf(false, kLittle, 243));  // riscv32
  CHECK_FALSE(machine_by_elf(false, kLittle, 40));   // arm
}

TEST_CASE("machine: one that nobody told is assumed aloud") {
  CollectingDiagnostics diagnostics;
  GuestImage image;
  assume_machine("input", std::nullopt, image, diagnostics);
  CHECK(diagnostics.of(Diagnostics::Level::warning) ==
        std::vector<std::string>{"input: does not tell the guest's architecture; x86_64 is assumed "
                                 "(--arch says otherwise)"});
  assume_machine("input", machine_by_name("ppc64"), image, diagnostics);
  CHECK(image.arch == Arch::ppc64);
  CHECK(image.byte_order == std::endian::big);
  CHECK(diagnostics.has(Diagnostics::Level::decision, "guest of ppc64 (from --arch)"));
}

TEST_CASE("lost memory: neighbours are one range, and many are counted") {
  CollectingDiagnostics diagnostics;
  LostMemory lost;
  lost.report(diagnostics);
  CHECK_FALSE(diagnostics.lost());
  lost.add(GuestRange::sized({0x1000}, 0x1000), "input: offset 0x5: bad");
  lost.add(GuestRange::sized({0x2000}, 0x1000), "other");
  for (std::uint64_t i = 0; i < 22; ++i) lost.add(GuestRange::sized({0x9000 + i * 0x2000}, 1), "");
  lost.report(diagnostics);
  const auto text = diagnostics.of(Diagnostics::Level::loss).at(0);
  CHECK(text.starts_with(
      "input: offset 0x5: bad; 8.0 KiB of guest memory left out: 0x1000-0x3000 0x9000-0x9001"));
  CHECK(text.ends_with(" and 3 more ranges"));
}

}  // namespace
}  // namespace vmconvert::test
