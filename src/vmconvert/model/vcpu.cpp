#include "vmconvert/model/vcpu.h"

namespace vmconvert {
namespace {

std::vector<NamedRegister> key_registers_of(const X86Registers& r) {
  const auto wide = [&](const char* of_64, const char* of_32) {
    return r.long_mode ? of_64 : of_32;
  };
  return {{wide("rip", "eip"), r.rip},
          {wide("rsp", "esp"), r.rsp},
          {wide("rflags", "eflags"), r.rflags},
          {"cs", r.cs.selector},
          {"cr0", r.cr0},
          {"cr3", r.cr3},
          {"cr4", r.cr4},
          {"idt", r.idt.base}};
}

std::vector<NamedRegister> key_registers_of(const Aarch64Registers& r) {
  std::vector<NamedRegister> list{
      {"pc", r.pc}, {"sp", r.sp}, {"lr", r.x[30]}, {"pstate", r.pstate}};
  if (r.el1) {
    list.insert(list.end(), {{"ttbr0_el1", r.el1->ttbr0},
                             {"ttbr1_el1", r.el1->ttbr1},
                             {"tcr_el1", r.el1->tcr},
                             {"sctlr_el1", r.el1->sctlr},
                             {"vbar_el1", r.el1->vbar}});
  }
  return list;
}

/// r15 is the stack pointer by convention; control registers 1, 7 and 13 are the primary, secondary
/// and home address space.
std::vector<NamedRegister> key_registers_of(const S390xRegisters& r) {
  return {{"psw.addr", r.psw_addr}, {"r15", r.gprs[15]},  {"r14", r.gprs[14]},
          {"psw.mask", r.psw_mask}, {"prefix", r.prefix}, {"cr1", r.crs[1]},
          {"cr7", r.crs[7]},        {"cr13", r.crs[13]}};
}

std::vector<NamedRegister> key_registers_of(const Ppc64Registers& r) {
  return {{"nip", r.nip}, {"r1", r.gpr[1]}, {"lr", r.lr},
          {"msr", r.msr}, {"lpcr", r.lpcr}, {"pidr", r.page_table_pid}};
}

std::vector<NamedRegister> key_registers_of(const Riscv64Registers& r) {
  return {{"pc", r.pc},     {"sp", r.x[2]},     {"ra", r.x[1]},           {"priv", r.privilege},
          {"satp", r.satp}, {"stvec", r.stvec}, {"sscratch", r.sscratch}, {"mstatus", r.mstatus}};
}

}  // namespace

std::vector<NamedRegister> key_registers(const Vcpu& vcpu) {
  return std::visit([](const auto& registers) { return key_registers_of(registers); }, vcpu);
}

}  // namespace vmconvert
