#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "vmconvert/base/diagnostics.h"
#include "vmware/checkpoint.h"

namespace vmconvert::vmware {

/// A range of guest memory that lies in one piece in the memory image.
struct Region {
  std::uint32_t index = 0;       ///< of its tags
  std::uint64_t page_num = 0;    ///< regionPageNum: first page in the memory image
  std::uint64_t ppn = 0;         ///< regionPPN: first guest page
  std::uint64_t page_count = 0;  ///< regionSize
  friend bool operator==(const Region&, const Region&) = default;
};

/// What the memory group of a checkpoint tells.
struct MemoryGroup {
  bool has_regions = false;     ///< false: nothing tells where memory lies
  std::vector<Region> regions;  ///< by index, without empty ones
  std::optional<Tag> memory;    ///< the memory image, if it is in the checkpoint
};

/// Reads the group `memory`.
/// @param salvage  keep what is whole of a damaged group
/// @throws Error(corrupt) if it is damaged or contradicts itself
MemoryGroup read_memory_group(const Checkpoint& checkpoint, bool salvage, Diagnostics& diagnostics);

}  // namespace vmconvert::vmware
