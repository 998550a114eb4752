#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "vmconvert/base/diagnostics.h"
#include "vmconvert/model/format.h"
#include "vmconvert/model/guest_image.h"
#include "vmconvert/model/xen_m2p.h"

namespace vmconvert {

/// What a search for the p2m of a 64-bit PV guest in its own memory found.
struct FoundXenP2m {
  std::string refusal;  ///< why nothing was found that can be relied on; empty if all holds
  std::shared_ptr<const XenM2p> m2p;
  std::vector<Pfn> roots;                   ///< L4s in use that lead to the kernel
  std::string form;                         ///< for people: how the kernel keeps its p2m
  std::uint64_t blocks = 0;                 ///< of 512 pages, from pages of the p2m
  std::uint64_t mapped_blocks = 0;          ///< of 512 pages, from the direct map alone
  std::uint64_t frames = 0;                 ///< pages with a machine frame
  std::uint64_t identity = 0, foreign = 0;  ///< entries of the p2m that are none of the guest's RAM
  std::uint64_t agreeing = 0, differing = 0;  ///< frames that p2m and direct map both have, or not
  std::uint64_t lost_tables = 0;              ///< of the direct map, L1s that could not be found
  std::uint64_t seeds = 0;                    ///< pages that told their frame, and rightly
  std::uint64_t copies = 0;  ///< pages that hold what another page is: copies of page tables
};

/// Searches all of memory; docs/formats/xen.md has how, and what is checked.
/// @throws Error(io) as the sources do
FoundXenP2m find_xen_p2m(const GuestImage& image);

/// Recognises the memory of a PV guest of Xen whose page tables hold machine frames, in an image
/// that does not tell it, and makes them hold the guest's own as resolve_xen_tables() does. Of an
/// image that holds no such guest 128 MiB are read, and nothing changes.
/// @param file    name of the input, for messages
/// @param layout  not XenLayout::asis
/// @throws Error(unsupported) if there is such a guest, but its p2m cannot be told with certainty
void resolve_found_xen(const std::string& file, XenLayout layout, GuestImage& image,
                       Diagnostics& diagnostics);

}  // namespace vmconvert
