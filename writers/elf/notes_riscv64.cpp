#include "elf/cpu_notes.h"

namespace vmconvert::elf {
namespace {

/// arch/riscv/include/uapi/asm/ptrace.h, struct user_regs_struct.
struct Prstatus {
  PrstatusHead<std::endian::little> head;
  le64 pc;             // 112
  le64 x1_to_x31[31];  // 120
  le64 pr_fpvalid;     // 368
};
static_assert(sizeof(Prstatus) == 376);

}  // namespace

void add_cpu_notes(NoteList& notes, const Riscv64Registers& r, std::uint32_t index) {
  Prstatus status{};
  status.head.pr_pid = index + 1;
  status.pc = r.pc;
  for (std::size_t i = 0; i < 31; ++i) status.x1_to_x31[i] = r.x[i + 1];
  notes.add_record("CORE", kNtPrstatus, status);
}

}  // namespace vmconvert::elf
