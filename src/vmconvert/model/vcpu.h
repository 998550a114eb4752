#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace vmconvert {

/// A segment register, its hidden part included.
struct X86Segment {
  std::uint32_t selector = 0;
  std::uint32_t limit = 0;  ///< bytes - 1
  std::uint32_t flags = 0;  ///< second dword of the descriptor, as QEMU keeps it
  std::uint64_t base = 0;
  friend bool operator==(const X86Segment&, const X86Segment&) = default;
};

/// Registers of an x86 vCPU, as far as notes in vmcores hold them. Of one that is 32 bits wide the
/// upper halves, r8 to r15 and kernel_gs_base are zero.
struct X86Registers {
  std::uint64_t rax = 0, rbx = 0, rcx = 0, rdx = 0, rsi = 0, rdi = 0, rsp = 0, rbp = 0;
  std::array<std::uint64_t, 8> r8_to_r15{};
  std::uint64_t rip = 0, rflags = 0;
  X86Segment cs, ds, es, fs, gs, ss, ldt, tr, gdt, idt;
  std::uint64_t cr0 = 0, cr2 = 0, cr3 = 0, cr4 = 0;
  std::uint64_t kernel_gs_base = 0;
  bool long_mode = true;  ///< EFER.LMA: the guest runs a 64-bit kernel
  friend bool operator==(const X86Registers&, const X86Registers&) = default;
};

/// A 128-bit register: [0] holds the less significant half, whatever the guest's byte order.
using Vector128 = std::array<std::uint64_t, 2>;

/// Registers of a vCPU in AArch64 state.
struct Aarch64Registers {
  struct Fp {
    std::array<Vector128, 32> v{};
    std::uint32_t fpsr = 0, fpcr = 0;
    friend bool operator==(const Fp&, const Fp&) = default;
  };
  /// Of exception level 1, where a kernel runs.
  struct System {
    std::uint64_t ttbr0 = 0, ttbr1 = 0, tcr = 0, sctlr = 0, mair = 0, vbar = 0;
    friend bool operator==(const System&, const System&) = default;
  };
  std::array<std::uint64_t, 31> x{};
  std::uint64_t sp = 0;  ///< the stack pointer in use
  std::uint64_t pc = 0, pstate = 0;
  std::optional<Fp> fp;
  std::optional<System> el1;
  friend bool operator==(const Aarch64Registers&, const Aarch64Registers&) = default;
};

struct S390xRegisters {
  std::uint64_t psw_mask = 0, psw_addr = 0;
  std::array<std::uint64_t, 16> gprs{};
  std::array<std::uint32_t, 16> acrs{};  ///< access registers
  std::array<std::uint64_t, 16> crs{};   ///< control registers
  std::uint32_t prefix = 0;
  std::uint64_t cpu_timer = 0, clock_comparator = 0;
  std::uint32_t tod_programmable = 0;
  struct Fp {
    std::uint32_t fpc = 0;
    std::array<std::uint64_t, 16> fprs{};
    friend bool operator==(const Fp&, const Fp&) = default;
  };
  std::optional<Fp> fp;
  /// Vector registers 0 to 31; the more significant half of the first 16 is fp->fprs.
  std::optional<std::array<Vector128, 32>> vrs;
  std::optional<std::array<std::uint64_t, 4>> guarded_storage;  ///< as the control block has it
  friend bool operator==(const S390xRegisters&, const S390xRegisters&) = default;
};

struct Ppc64Registers {
  std::array<std::uint64_t, 32> gpr{};
  std::uint64_t nip = 0, msr = 0, ctr = 0, lr = 0, xer = 0;
  std::uint32_t cr = 0;
  std::uint64_t lpcr = 0;            ///< logical partitioning control
  std::uint64_t page_table_pid = 0;  ///< PIDR: which process's tables are in use
  struct Fp {
    std::array<std::uint64_t, 32> fpr{};
    std::uint64_t fpscr = 0;
    friend bool operator==(const Fp&, const Fp&) = default;
  };
  struct Altivec {
    std::array<Vector128, 32> vr{};
    std::uint32_t vscr = 0;
    std::uint32_t vrsave = 0;
    friend bool operator==(const Altivec&, const Altivec&) = default;
  };
  std::optional<Fp> fp;
  std::optional<Altivec> altivec;
  /// The less significant half of VSX registers 0 to 31; the other one is fp->fpr.
  std::optional<std::array<std::uint64_t, 32>> vsx;
  friend bool operator==(const Ppc64Registers&, const Ppc64Registers&) = default;
};

struct Riscv64Registers {
  std::array<std::uint64_t, 32> x{};  ///< x[0] is zero
  std::uint64_t pc = 0;
  std::uint64_t privilege = 0;  ///< 0 user, 1 supervisor, 3 machine
  std::uint64_t satp = 0, stvec = 0, sscratch = 0, mstatus = 0;
  friend bool operator==(const Riscv64Registers&, const Riscv64Registers&) = default;
};

/// Registers of one virtual CPU. All vCPUs of a guest hold the same alternative.
using Vcpu =
    std::variant<X86Registers, Aarch64Registers, S390xRegisters, Ppc64Registers, Riscv64Registers>;

struct NamedRegister {
  std::string name;  ///< as the architecture's manual has it, lower case: "rip", "ttbr1_el1"
  std::uint64_t value = 0;
  friend bool operator==(const NamedRegister&, const NamedRegister&) = default;
};

/// The few registers that tell what a vCPU was doing: program counter first, stack pointer, state,
/// page table roots. For people; what the input did not hold is left out.
std::vector<NamedRegister> key_registers(const Vcpu& vcpu);

}  // namespace vmconvert
