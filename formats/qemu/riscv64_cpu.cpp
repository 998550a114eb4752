#include "qemu/cpu_registers.h"

namespace vmconvert::qemu {

// Truth: QEMU 7.2 (version 5) and 10.0 (version 10), target/riscv/machine.c, vmstate_riscv_cpu.
// Each version has another layout, so that nothing can be read without a description.
Riscv64Registers read_riscv64_registers(RegisterReader& reader) {
  Riscv64Registers r;
  r.x = reader.numbers<32>("env.gpr");
  r.pc = reader.number("env.pc"), r.privilege = reader.number("env.priv");
  r.satp = reader.number("env.satp"), r.stvec = reader.number("env.stvec");
  r.sscratch = reader.number("env.sscratch"), r.mstatus = reader.number("env.mstatus");
  return r;
}

}  // namespace vmconvert::qemu
