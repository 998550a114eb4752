#include "elf/cpu_notes.h"

namespace vmconvert::elf {
namespace {

using Big = Layout<std::endian::big>;  // there is no other

// include/uapi/linux/elf.h; contents: arch/s390/include/uapi/asm/ptrace.h,
// arch/s390/kernel/ptrace.c.
constexpr std::uint32_t kTimer = 0x301, kTodCmp = 0x302, kTodPreg = 0x303, kControl = 0x304,
                        kPrefix = 0x305, kVxrsLow = 0x309, kVxrsHigh = 0x30a,
                        kGuardedStorage = 0x30b;

struct Prstatus {
  PrstatusHead<std::endian::big> head;
  Big::u64 psw_mask, psw_addr;  // 112
  Big::u64 gprs[16];            // 128
  Big::u32 acrs[16];            // 256
  Big::u64 orig_gpr2;           // 320
  Big::u32 pr_fpvalid, pad;     // 328
};
static_assert(sizeof(Prstatus) == 336);

struct Fpregset {
  Big::u32 fpc, pad;  // 0
  Big::u64 fprs[16];  // 8
};
static_assert(sizeof(Fpregset) == 136);

void add_vectors(NoteList& notes, const std::array<Vector128, 32>& vrs) {
  struct {
    Big::u64 half[16];
  } low{};
  struct {
    Big::u64 both[16][2];
  } high{};
  for (std::size_t i = 0; i < 16; ++i) {
    low.half[i] = vrs[i][0];
    high.both[i][0] = vrs[16 + i][1], high.both[i][1] = vrs[16 + i][0];
  }
  notes.add_record("LINUX", kVxrsLow, low);
  notes.add_record("LINUX", kVxrsHigh, high);
}

}  // namespace

void add_cpu_notes(NoteList& notes, const S390xRegisters& r, std::uint32_t index) {
  Prstatus status{};
  status.head.pr_pid = index + 1;
  status.psw_mask = r.psw_mask, status.psw_addr = r.psw_addr;
  for (std::size_t i = 0; i < 16; ++i) status.gprs[i] = r.gprs[i], status.acrs[i] = r.acrs[i];
  notes.add_record("CORE", kNtPrstatus, status);
  if (r.fp) {
    Fpregset fp{};
    fp.fpc = r.fp->fpc;
    for (std::size_t i = 0; i < 16; ++i) fp.fprs[i] = r.fp->fprs[i];
    notes.add_record("CORE", kNtFpregset, fp);
  }
  notes.add_record("LINUX", kPrefix, Big::u32(r.prefix));
  struct {
    Big::u64 crs[16];
  } control{};
  for (std::size_t i = 0; i < 16; ++i) control.crs[i] = r.crs[i];
  notes.add_record("LINUX", kControl, control);
  notes.add_record("LINUX", kTimer, Big::u64(r.cpu_timer));
  notes.add_record("LINUX", kTodCmp, Big::u64(r.clock_comparator));
  notes.add_record("LINUX", kTodPreg, Big::u32(r.tod_programmable));
  if (r.vrs) add_vectors(notes, *r.vrs);
  struct {
    Big::u64 gscb[4];
  } guarded{};
  if (r.guarded_storage) {
    for (std::size_t i = 0; i < 4; ++i) guarded.gscb[i] = (*r.guarded_storage)[i];
    notes.add_record("LINUX", kGuardedStorage, guarded);
  }
}

}  // namespace vmconvert::elf
