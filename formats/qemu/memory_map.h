#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "vmconvert/base/address.h"

namespace vmconvert::qemu {

/// A part of a block, as the guest sees it.
struct Placement {
  GuestRange guest;
  std::size_t block = 0;     ///< index into the stream's block list
  std::uint64_t offset = 0;  ///< of guest.begin() within the block
  friend bool operator==(const Placement&, const Placement&) = default;
};

/// Which block is behind which guest-physical address. Later calls lie on top of earlier ones.
class MemoryMap {
 public:
  void map(GuestRange guest, std::size_t block, std::uint64_t offset);
  /// Nothing of the guest's memory is seen in this range.
  void hide(GuestRange guest);
  /// The first placement that has a byte in this range; nullptr if there is none.
  const Placement* find_overlap(GuestRange guest) const;
  /// Sorted, disjoint, not empty.
  const std::vector<Placement>& placements() const { return placements_; }

 private:
  std::vector<Placement> placements_;
};

}  // namespace vmconvert::qemu
