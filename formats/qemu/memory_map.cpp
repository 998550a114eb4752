#include "qemu/memory_map.h"

#include <algorithm>

namespace vmconvert::qemu {

void MemoryMap::hide(GuestRange guest) {
  std::vector<Placement> kept;
  if (guest.empty()) return;
  for (const Placement& old : placements_) {
    const auto keep = [&](GuestPhysAddr begin, GuestPhysAddr end) {
      if (begin < end) {
        kept.push_back(
            {GuestRange::between(begin, end), old.block, old.offset + (begin - old.guest.begin())});
      }
    };
    keep(old.guest.begin(), std::min(old.guest.end(), guest.begin()));
    keep(std::max(old.guest.begin(), guest.end()), old.guest.end());
  }
  placements_ = std::move(kept);
}

void MemoryMap::map(GuestRange guest, std::size_t block, std::uint64_t offset) {
  if (guest.empty()) return;
  hide(guest);
  const auto at = std::find_if(placements_.begin(), placements_.end(),
                               [&](const Placement& p) { return p.guest.begin() > guest.begin(); });
  placements_.insert(at, {guest, block, offset});
}

}  // namespace vmconvert::qemu
