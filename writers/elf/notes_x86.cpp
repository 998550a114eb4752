#include "elf/cpu_notes.h"

namespace vmconvert::elf {
namespace {

/// arch/x86/include/asm/user_64.h.
struct PrstatusX86_64 {
  PrstatusHead<std::endian::little> head;
  le64 r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8;      // 112
  le64 rax, rcx, rdx, rsi, rdi, orig_rax, rip, cs, eflags;  // 192
  le64 rsp, ss, fs_base, gs_base, ds, es, fs, gs;           // 264
  le64 pr_fpvalid;                                          // 328
};
static_assert(sizeof(PrstatusX86_64) == 336);

/// struct elf_prstatus of a 32-bit kernel; arch/x86/include/asm/user_32.h.
struct PrstatusI386 {
  le32 pr_info_and_signals[6];                                                //   0
  le32 pr_pid;                                                                //  24
  le32 pr_ppid_pgrp_sid[3];                                                   //  28
  le32 pr_times[8];                                                           //  40
  le32 ebx, ecx, edx, esi, edi, ebp, eax, ds, es, fs, gs, orig_eax, eip, cs;  //  72
  le32 eflags, esp, ss;                                                       // 128
  le32 pr_fpvalid;                                                            // 140
};
static_assert(sizeof(PrstatusI386) == 144);

/// QEMU, target/i386/arch_dump.c, struct QEMUCPUState.
struct QemuSegment {
  le32 selector, limit, flags, pad;
  le64 base;
};

struct QemuCpuState {
  le32 version{1};                                        //   0
  le32 size{440};                                         //   4
  le64 rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp;            //   8
  le64 r8_to_r15[8];                                      //  72
  le64 rip, rflags;                                       // 136
  QemuSegment cs, ds, es, fs, gs, ss, ldt, tr, gdt, idt;  // 152
  le64 cr[5];                                             // 392
  le64 kernel_gs_base;                                    // 432
};
static_assert(sizeof(QemuCpuState) == 440);

QemuSegment qemu_segment(const X86Segment& s) {
  return {.selector = s.selector, .limit = s.limit, .flags = s.flags, .pad = 0U, .base = s.base};
}

le32 low(std::uint64_t value) { return static_cast<std::uint32_t>(value); }

}  // namespace

void add_prstatus_x86_64(NoteList& notes, const X86Registers& r, std::uint32_t index) {
  const auto& n = r.r8_to_r15;
  PrstatusX86_64 status{};
  status.head.pr_pid = index + 1;
  status.r15 = n[7], status.r14 = n[6], status.r13 = n[5], status.r12 = n[4];
  status.r11 = n[3], status.r10 = n[2], status.r9 = n[1], status.r8 = n[0];
  status.rbp = r.rbp, status.rbx = r.rbx, status.rax = r.rax, status.rcx = r.rcx;
  status.rdx = r.rdx, status.rsi = r.rsi, status.rdi = r.rdi, status.rsp = r.rsp;
  status.rip = r.rip, status.eflags = r.rflags;
  status.cs = r.cs.selector, status.ss = r.ss.selector, status.ds = r.ds.selector;
  status.es = r.es.selector, status.fs = r.fs.selector, status.gs = r.gs.selector;
  status.fs_base = r.fs.base, status.gs_base = r.gs.base;
  notes.add_record("CORE", kNtPrstatus, status);
}

void add_prstatus_i386(NoteList& notes, const X86Registers& r, std::uint32_t index) {
  PrstatusI386 status{};
  status.pr_pid = index + 1;
  status.ebx = low(r.rbx), status.ecx = low(r.rcx), status.edx = low(r.rdx);
  status.esi = low(r.rsi), status.edi = low(r.rdi), status.ebp = low(r.rbp);
  status.eax = low(r.rax), status.eip = low(r.rip), status.eflags = low(r.rflags);
  status.esp = low(r.rsp);
  status.cs = r.cs.selector, status.ss = r.ss.selector, status.ds = r.ds.selector;
  status.es = r.es.selector, status.fs = r.fs.selector, status.gs = r.gs.selector;
  notes.add_record("CORE", kNtPrstatus, status);
}

void add_qemu_note(NoteList& notes, const X86Registers& r) {
  QemuCpuState state{};
  state.rax = r.rax, state.rbx = r.rbx, state.rcx = r.rcx, state.rdx = r.rdx;
  state.rsi = r.rsi, state.rdi = r.rdi, state.rsp = r.rsp, state.rbp = r.rbp;
  for (std::size_t i = 0; i < r.r8_to_r15.size(); ++i) state.r8_to_r15[i] = r.r8_to_r15[i];
  state.rip = r.rip, state.rflags = r.rflags;
  state.cs = qemu_segment(r.cs), state.ds = qemu_segment(r.ds), state.es = qemu_segment(r.es);
  state.fs = qemu_segment(r.fs), state.gs = qemu_segment(r.gs), state.ss = qemu_segment(r.ss);
  state.ldt = qemu_segment(r.ldt), state.tr = qemu_segment(r.tr);
  state.gdt = qemu_segment(r.gdt), state.idt = qemu_segment(r.idt);
  state.cr[0] = r.cr0, state.cr[2] = r.cr2, state.cr[3] = r.cr3, state.cr[4] = r.cr4;
  state.kernel_gs_base = r.kernel_gs_base;
  notes.add_record("QEMU", 0, state);
}

}  // namespace vmconvert::elf
