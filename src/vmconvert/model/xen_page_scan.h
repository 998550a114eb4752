#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "vmconvert/model/guest_image.h"
#include "vmconvert/model/xen_page_shapes.h"

namespace vmconvert {

/// Calls `visit` for each whole page of guest memory below `end` that can hold anything but zeros,
/// in ascending order, until it returns false; pages from 2^32 on are left out.
/// @throws Error(io) as the sources do
void for_each_guest_page(
    const GuestImage& image, GuestPhysAddr end,
    const std::function<bool(std::uint32_t pfn, std::span<const std::byte> page)>& visit);

/// A page and the machine frame that it says it is.
struct XenSeed {
  std::uint32_t pfn = 0, mfn = 0;
  bool l4 = false;  ///< by its self map; else told by the start_info page before it
};

/// What a first look at an image tells, without reading all of it.
struct XenFirstLook {
  std::vector<std::uint32_t> self_mapped, plain;  ///< L4s: is_self_mapped_l4(), is_plain_l4()
  std::size_t own_frames = 0;  ///< of the former, those that give the page's own number as frame
  bool narrow_start_info = false;  ///< of a 32-bit guest
};
/// Looks at the memory where a PV kernel lies, which is not moved as others are, with its L4.
/// @throws Error(io) as the sources do
XenFirstLook look_for_xen(const GuestImage& image);

/// Pages that may be parts of what the search needs, by their form alone; page numbers ascend.
struct XenCandidates {
  std::vector<XenSeed> seeds;
  std::vector<std::uint32_t> tables;          ///< xen_table_entries()
  std::vector<std::uint32_t> frame_lists;     ///< distinct ones
  std::vector<std::uint32_t> repeated_lists;  ///< the others
  std::vector<std::uint32_t> pointer_lists;
  bool too_many = false;  ///< of any kind: more than a guest has; then the rest is missing
};
/// Reads all of memory once.
/// @throws Error(io) as the sources do
XenCandidates find_xen_candidates(const GuestImage& image);

}  // namespace vmconvert
