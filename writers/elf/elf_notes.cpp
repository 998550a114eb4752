#include "elf/elf_notes.h"

#include <string_view>
#include <variant>

#include "elf/elf_format.h"
#include "vmconvert/base/packed.h"

namespace vmconvert::elf {
namespace {

using namespace std::string_view_literals;

constexpr std::uint32_t kNtPrstatus = 1;

/// Linux struct elf_prstatus of x86-64, include/linux/elfcore.h and arch/x86/include/asm/user_64.h.
/// Only the thread id and the registers mean anything for a vCPU.
struct PrstatusX86_64 {
  le64 pr_info_and_signals[4];  //   0
  le32 pr_pid;                  //  32  vCPU number + 1, as QEMU has it: not zero, unique
  le32 pr_ppid_pgrp_sid[3];     //  36
  le64 pr_times[8];             //  48
  le64 r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8;      // 112
  le64 rax, rcx, rdx, rsi, rdi, orig_rax, rip, cs, eflags;  // 192
  le64 rsp, ss, fs_base, gs_base, ds, es, fs, gs;           // 264
  le64 pr_fpvalid;                                          // 328
};
static_assert(sizeof(PrstatusX86_64) == 336);

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

void append_padded(std::vector<std::byte>& bytes, std::string_view text) {
  const auto* first = reinterpret_cast<const std::byte*>(text.data());
  bytes.insert(bytes.end(), first, first + text.size());
  bytes.resize(align_up(bytes.size(), kNoteAlignment));
}

void append_note(std::vector<std::byte>& notes, std::string_view name_with_nul, std::uint32_t type,
                 std::string_view desc) {
  append(notes, Nhdr{.n_namesz = static_cast<std::uint32_t>(name_with_nul.size()),
                     .n_descsz = checked_cast<std::uint32_t>(desc.size()),
                     .n_type = type});
  append_padded(notes, name_with_nul);
  append_padded(notes, desc);
}

template <class T>
std::string_view bytes_of(const T& record) {
  return {reinterpret_cast<const char*>(&record), sizeof record};
}

PrstatusX86_64 prstatus(const X86Registers& r, std::uint32_t index) {
  const auto& n = r.r8_to_r15;
  PrstatusX86_64 status{};
  status.pr_pid = index + 1;
  status.r15 = n[7], status.r14 = n[6], status.r13 = n[5], status.r12 = n[4];
  status.r11 = n[3], status.r10 = n[2], status.r9 = n[1], status.r8 = n[0];
  status.rbp = r.rbp, status.rbx = r.rbx, status.rax = r.rax, status.rcx = r.rcx;
  status.rdx = r.rdx, status.rsi = r.rsi, status.rdi = r.rdi, status.rsp = r.rsp;
  status.rip = r.rip, status.eflags = r.rflags;
  status.cs = r.cs.selector, status.ss = r.ss.selector, status.ds = r.ds.selector;
  status.es = r.es.selector, status.fs = r.fs.selector, status.gs = r.gs.selector;
  status.fs_base = r.fs.base, status.gs_base = r.gs.base;
  return status;
}

QemuSegment qemu_segment(const X86Segment& s) {
  return {.selector = s.selector, .limit = s.limit, .flags = s.flags, .pad = 0U, .base = s.base};
}

QemuCpuState qemu_state(const X86Registers& r) {
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
  return state;
}

}  // namespace

std::vector<std::byte> make_notes(const GuestImage& image) {
  std::vector<std::byte> notes;
  for (const Note& note : image.notes) {
    append_note(notes, note.name + '\0', note.type,
                {reinterpret_cast<const char*>(note.desc.data()), note.desc.size()});
  }
  if (!notes.empty()) return notes;
  for (std::uint32_t i = 0; i < image.vcpus.size(); ++i) {
    if (const auto* x86 = std::get_if<X86Registers>(&image.vcpus[i])) {
      append_note(notes, "CORE\0"sv, kNtPrstatus, bytes_of(prstatus(*x86, i)));
    }
  }
  for (const Vcpu& vcpu : image.vcpus) {
    if (const auto* x86 = std::get_if<X86Registers>(&vcpu)) {
      append_note(notes, "QEMU\0"sv, 0, bytes_of(qemu_state(*x86)));
    }
  }
  if (image.vmcoreinfo) append_note(notes, "VMCOREINFO\0"sv, 0, image.vmcoreinfo->text);
  return notes;
}

}  // namespace vmconvert::elf
