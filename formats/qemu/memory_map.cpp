#include "qemu/memory_map.h"

#include <algorithm>

namespace vmconvert::qemu {

const Placement* MemoryMap::find_overlap(GuestRange guest) const {
  if (guest.empty()) return nullptr;
  const auto first =
      std::partition_point(placements_.begin(), placements_.end(),
                           [&](const Placement& p) { return p.guest.end() <= guest.begin(); });
  return first != placements_.end() && first->guest.begin() < guest.end() ? &*first : nullptr;
}

void MemoryMap::hide(GuestRange guest) {
  if (find_overlap(guest) == nullptr) return;  // a virtio-mem device can have 10,000s of parts
  std::vector<Placement> kept;
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
  const auto at =
      std::partition_point(placements_.begin(), placements_.end(),
                           [&](const Placement& p) { return p.guest.begin() < guest.begin(); });
  placements_.insert(at, {guest, block, offset});
}

}  // namespace vmconvert::qemu
