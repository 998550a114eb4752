#include "xen/direct_map.h"

#include <array>

#include "vmconvert/base/packed.h"
#include "xen/xen_format.h"

namespace vmconvert::xen {
namespace {

// Truth: Linux, Documentation/x86/x86_64/mm.rst: the direct map begins at 0xffff880000000000 (slot
// 272 of L4) until 4.20, then at 0xffff888000000000 (slot 273); of 32-bit kernels at 0xc0000000,
// slot 3 of L3, where it ends at 0xf5800000 under Xen at the latest.
constexpr std::array<std::size_t, 2> kFirstSlots{272, 273};
constexpr std::size_t kSlots = 512, kLastSlot = 336;  // 64 TiB: up to where vmalloc begins
constexpr std::size_t kSlot32 = 3, kXenSlot32 = 428;
constexpr std::uint64_t kPresent = 1, kLarge = 1U << 7, kFrameMask = 0x000ffffffffff000;

using Table = std::array<le64, kSlots>;

class Walk {
 public:
  Walk(const MachineTables& tables, const std::function<void(Pfn, Mfn)>& visit)
      : tables_(tables), visit_(visit), budget_(tables.frames) {}

  std::uint64_t run() {
    Table root;
    if (!read(tables_.root, root)) return 1;
    if (tables_.width == 4) {
      if ((root[kSlot32] & kPresent) != 0) level(frame(root[kSlot32]), 2, 0, kXenSlot32);
      return missing_;
    }
    std::size_t first = kFirstSlots[0];
    if ((root[first] & kPresent) == 0) first = kFirstSlots[1];
    for (std::size_t slot = first; slot < kLastSlot; ++slot) {
      if ((root[slot] & kPresent) == 0) break;
      level(frame(root[slot]), 3, std::uint64_t{slot - first} << 27, kSlots);
    }
    return missing_;
  }

 private:
  static Mfn frame(std::uint64_t entry) { return {(entry & kFrameMask) >> kPageShift}; }

  bool read(Mfn mfn, Table& table) {
    return tables_.read(mfn, std::as_writable_bytes(std::span(table)));
  }

  /// A table of level 3 to 1 that maps from `pfn` on.
  void level(Mfn mfn, unsigned depth, std::uint64_t pfn, std::size_t slots) {
    Table table;
    if (budget_ == 0 || !read(mfn, table)) {
      ++missing_;
      return;
    }
    --budget_;
    const std::uint64_t each = std::uint64_t{1} << (9 * (depth - 1));
    for (std::size_t i = 0; i < slots; ++i, pfn += each) {
      const std::uint64_t entry = table[i];
      if ((entry & kPresent) == 0) continue;
      if (depth == 1) {
        visit_({pfn}, frame(entry));
      } else if ((entry & kLarge) != 0) {
        ++missing_;  // Xen gives PV guests none
      } else {
        level(frame(entry), depth - 1, pfn, kSlots);
      }
    }
  }

  const MachineTables& tables_;
  const std::function<void(Pfn, Mfn)>& visit_;
  std::uint64_t missing_ = 0;
  std::uint64_t budget_;  ///< tables may be shared or form a cycle, in a file that was made so
};

}  // namespace

std::uint64_t walk_direct_map(const MachineTables& tables,
                              const std::function<void(Pfn, Mfn)>& visit) {
  return Walk(tables, visit).run();
}

}  // namespace vmconvert::xen
