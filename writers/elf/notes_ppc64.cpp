#include "elf/cpu_notes.h"

namespace vmconvert::elf {
namespace {

constexpr std::uint32_t kVmx = 0x100, kVsx = 0x102;  // include/uapi/linux/elf.h

/// arch/powerpc/include/uapi/asm/ptrace.h, struct pt_regs, in an array of 48.
template <std::endian Order>
struct Prstatus {
  PrstatusHead<Order> head;
  typename Layout<Order>::u64 gpr[32];                                     // 112
  typename Layout<Order>::u64 nip, msr, orig_gpr3, ctr, link, xer, ccr;    // 368
  typename Layout<Order>::u64 softe, trap, dar, dsisr, result, unused[4];  // 424
  typename Layout<Order>::u64 pr_fpvalid;                                  // 496
};
static_assert(sizeof(Prstatus<std::endian::little>) == 504);

template <std::endian Order>
struct Fpregset {
  typename Layout<Order>::u64 fpr[32], fpscr;
};
static_assert(sizeof(Fpregset<std::endian::little>) == 264);

/// arch/powerpc/kernel/ptrace/ptrace-altivec.c. VSCR is the last word of a vector register, which
/// comes first in a little-endian one.
template <std::endian Order>
struct VmxRegset {
  typename Layout<Order>::u64 vr[32][2];  //   0
  typename Layout<Order>::u32 vscr[4];    // 512
  typename Layout<Order>::u32 vrsave[4];  // 528
};
static_assert(sizeof(VmxRegset<std::endian::little>) == 544);

template <std::endian Order>
void add_in(NoteList& notes, const Ppc64Registers& r, std::uint32_t index) {
  constexpr bool kBig = Order == std::endian::big;
  Prstatus<Order> status{};
  status.head.pr_pid = index + 1;
  for (std::size_t i = 0; i < 32; ++i) status.gpr[i] = r.gpr[i];
  status.nip = r.nip, status.msr = r.msr, status.ctr = r.ctr, status.link = r.lr;
  status.xer = r.xer, status.ccr = std::uint64_t{r.cr};
  notes.add_record("CORE", kNtPrstatus, status);
  if (r.fp) {
    Fpregset<Order> fp{};
    for (std::size_t i = 0; i < 32; ++i) fp.fpr[i] = r.fp->fpr[i];
    fp.fpscr = r.fp->fpscr;
    notes.add_record("CORE", kNtFpregset, fp);
  }
  if (r.altivec) {
    VmxRegset<Order> vmx{};
    for (std::size_t i = 0; i < 32; ++i) {
      vmx.vr[i][0] = r.altivec->vr[i][kBig ? 1 : 0], vmx.vr[i][1] = r.altivec->vr[i][kBig ? 0 : 1];
    }
    vmx.vscr[kBig ? 3 : 0] = r.altivec->vscr;
    vmx.vrsave[0] = r.altivec->vrsave;
    notes.add_record("LINUX", kVmx, vmx);
  }
  if (r.vsx) {
    struct {
      typename Layout<Order>::u64 low[32];
    } vsx{};
    for (std::size_t i = 0; i < 32; ++i) vsx.low[i] = (*r.vsx)[i];
    notes.add_record("LINUX", kVsx, vsx);
  }
}

}  // namespace

void add_cpu_notes(NoteList& notes, const Ppc64Registers& registers, std::uint32_t index) {
  notes.order() == std::endian::big ? add_in<std::endian::big>(notes, registers, index)
                                    : add_in<std::endian::little>(notes, registers, index);
}

}  // namespace vmconvert::elf
