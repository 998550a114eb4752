#include "vmconvert/model/vcpu.h"

#include <algorithm>

#include "support/test.h"

namespace vmconvert::test {
namespace {

std::uint64_t value_of(const Vcpu& vcpu, std::string_view name) {
  const auto list = key_registers(vcpu);
  const auto found = std::find_if(list.begin(), list.end(),
                                  [&](const NamedRegister& r) { return r.name == name; });
  REQUIRE(found != list.end());
  return found->value;
}

TEST_CASE("key registers: the program counter comes first, under the architecture's name") {
  X86Registers x86;
  x86.rip = 1;
  CHECK(key_registers(x86).front() == NamedRegister{"rip", 1});
  x86.long_mode = false;
  CHECK(key_registers(x86).front() == NamedRegister{"eip", 1});
  Aarch64Registers aarch64;
  aarch64.pc = 2;
  CHECK(key_registers(aarch64).front() == NamedRegister{"pc", 2});
  S390xRegisters s390x;
  s390x.psw_addr = 3;
  CHECK(key_registers(s390x).front() == NamedRegister{"psw.addr", 3});
  Ppc64Registers ppc64;
  ppc64.nip = 4;
  CHECK(key_registers(ppc64).front() == NamedRegister{"nip", 4});
  Riscv64Registers riscv64;
  riscv64.pc = 5;
  CHECK(key_registers(riscv64).front() == NamedRegister{"pc", 5});
}

TEST_CASE("key registers: stack pointers and page table roots") {
  X86Registers x86;
  x86.rsp = 1, x86.cr3 = 2, x86.idt.base = 3;
  CHECK(value_of(x86, "rsp") == 1);
  CHECK(value_of(x86, "cr3") == 2);
  CHECK(value_of(x86, "idt") == 3);
  Aarch64Registers aarch64;
  aarch64.sp = 4;
  CHECK(value_of(aarch64, "sp") == 4);
  CHECK(key_registers(aarch64).size() == 4);
  aarch64.el1 = {.ttbr0 = 5, .ttbr1 = 6};
  CHECK(value_of(aarch64, "ttbr0_el1") == 5);
  CHECK(value_of(aarch64, "ttbr1_el1") == 6);
  S390xRegisters s390x;
  s390x.crs[1] = 7, s390x.crs[13] = 8, s390x.gprs[15] = 9;
  CHECK(value_of(s390x, "cr1") == 7);
  CHECK(value_of(s390x, "cr13") == 8);
  CHECK(value_of(s390x, "r15") == 9);
  Ppc64Registers ppc64;
  ppc64.gpr[1] = 10, ppc64.page_table_pid = 11;
  CHECK(value_of(ppc64, "r1") == 10);
  CHECK(value_of(ppc64, "pidr") == 11);
  Riscv64Registers riscv64;
  riscv64.x[2] = 12, riscv64.satp = 13;
  CHECK(value_of(riscv64, "sp") == 12);
  CHECK(value_of(riscv64, "satp") == 13);
}

}  // namespace
}  // namespace vmconvert::test
