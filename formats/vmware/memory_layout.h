#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vmconvert/base/diagnostics.h"
#include "vmconvert/model/run_list.h"
#include "vmware/memory_group.h"
#include "vmware/memory_image.h"

namespace vmconvert::vmware {

/// Guest memory that lies in one piece in a memory image.
struct Placement {
  GuestRange guest;
  std::uint64_t at = 0;  ///< in the memory image
  friend bool operator==(const Placement&, const Placement&) = default;
};

/// What tells where memory lies when no region does.
struct LayoutFacts {
  std::string file;                       ///< for messages
  bool arm = false;                       ///< RAM begins at 2 GiB
  bool known_machine = false;             ///< a state says what the guest is
  std::optional<std::uint64_t> below_4g;  ///< the user's word: bytes below the 32-bit PCI hole
};

/// Places by the regions of a state, sorted by guest address.
/// @throws Error(corrupt) if they overlap or reach beyond any address; with `salvage` those are
/// left
///         out
std::vector<Placement> place_regions(const std::vector<Region>& regions, const std::string& file,
                                     bool salvage, Diagnostics& diagnostics);

/// Places `size` bytes by the rules of products: RAM above 3 GiB continues at 4 GiB. Warns where
/// that is a guess.
/// @throws Error(usage) if the user's word makes no sense, Error(corrupt) if no guest has so much
std::vector<Placement> place_by_rule(std::uint64_t size, const LayoutFacts& facts,
                                     Diagnostics& diagnostics);

/// Runs of what is placed.
/// @param id  of the image's source
/// @throws Error(corrupt) if the image lacks some of it; with `salvage` that is left out
RunList map_placements(const std::vector<Placement>& placements, const MemoryImage& image,
                       SourceId id, bool salvage, Diagnostics& diagnostics);

}  // namespace vmconvert::vmware
