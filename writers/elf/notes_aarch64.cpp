#include "elf/cpu_notes.h"

namespace vmconvert::elf {
namespace {

/// arch/arm64/include/uapi/asm/ptrace.h, struct user_pt_regs.
template <std::endian Order>
struct Prstatus {
  PrstatusHead<Order> head;
  typename Layout<Order>::u64 x[31];           // 112
  typename Layout<Order>::u64 sp, pc, pstate;  // 360
  typename Layout<Order>::u32 pr_fpvalid;      // 384
  typename Layout<Order>::u32 pad;
};
static_assert(sizeof(Prstatus<std::endian::little>) == 392);

/// arch/arm64/include/uapi/asm/ptrace.h, struct user_fpsimd_state.
template <std::endian Order>
struct Fpregset {
  typename Layout<Order>::u64 v[32]
                               [2];  //   0  in a big-endian file the more significant half first
  typename Layout<Order>::u32 fpsr, fpcr;  // 512
  typename Layout<Order>::u64 pad;
};
static_assert(sizeof(Fpregset<std::endian::little>) == 528);

template <std::endian Order>
void add_in(NoteList& notes, const Aarch64Registers& r, std::uint32_t index) {
  Prstatus<Order> status{};
  status.head.pr_pid = index + 1;
  for (std::size_t i = 0; i < r.x.size(); ++i) status.x[i] = r.x[i];
  status.sp = r.sp, status.pc = r.pc, status.pstate = r.pstate;
  status.pr_fpvalid = 1U;
  notes.add_record("CORE", kNtPrstatus, status);
  if (!r.fp) return;
  Fpregset<Order> fp{};
  constexpr std::size_t kFirst = Order == std::endian::big ? 1 : 0;
  for (std::size_t i = 0; i < r.fp->v.size(); ++i) {
    fp.v[i][0] = r.fp->v[i][kFirst], fp.v[i][1] = r.fp->v[i][1 - kFirst];
  }
  fp.fpsr = r.fp->fpsr, fp.fpcr = r.fp->fpcr;
  notes.add_record("CORE", kNtFpregset, fp);
}

}  // namespace

void add_cpu_notes(NoteList& notes, const Aarch64Registers& registers, std::uint32_t index) {
  notes.order() == std::endian::big ? add_in<std::endian::big>(notes, registers, index)
                                    : add_in<std::endian::little>(notes, registers, index);
}

}  // namespace vmconvert::elf
