#pragma once

#include <array>
#include <cstdint>

namespace vmconvert {

/// A segment register, its hidden part included.
struct X86Segment {
  std::uint32_t selector = 0;
  std::uint32_t limit = 0;  ///< bytes - 1
  std::uint32_t flags = 0;  ///< second dword of the descriptor, as QEMU keeps it
  std::uint64_t base = 0;
  friend bool operator==(const X86Segment&, const X86Segment&) = default;
};

/// Registers of an x86-64 vCPU, as far as notes in vmcores hold them.
struct X86Registers {
  std::uint64_t rax = 0, rbx = 0, rcx = 0, rdx = 0, rsi = 0, rdi = 0, rsp = 0, rbp = 0;
  std::array<std::uint64_t, 8> r8_to_r15{};
  std::uint64_t rip = 0, rflags = 0;
  X86Segment cs, ds, es, fs, gs, ss, ldt, tr, gdt, idt;
  std::uint64_t cr0 = 0, cr2 = 0, cr3 = 0, cr4 = 0;
  std::uint64_t kernel_gs_base = 0;
  friend bool operator==(const X86Registers&, const X86Registers&) = default;
};

}  // namespace vmconvert
