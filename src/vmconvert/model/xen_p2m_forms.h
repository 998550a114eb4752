#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vmconvert/model/guest_image.h"
#include "vmconvert/model/xen_block_search.h"

namespace vmconvert {

/// Where a guest keeps the pages of its p2m.
struct XenP2mForm {
  std::string name;  ///< for people
  /// The page with the machine frames of pages number * 512 on, by number; 0: none.
  std::vector<std::uint32_t> pages;
};

/// How the kernel itself reaches the pages of its p2m: what is reached so is in use, which cannot
/// be said of a page that merely looks like one. All forms that were found, the best first: a
/// linear list in kernel addresses (Linux 3.19 and later), a tree of pointers (2.6.37 to 3.18), a
/// flat table, the list of machine frames that is kept for the toolstack.
/// @param root  an L4 of the kernel
/// @throws Error(io) as the sources do
std::vector<XenP2mForm> find_p2m_forms(const GuestImage& image, Pfn root,
                                       const XenCandidates& candidates, const XenP2mPages& pages,
                                       XenBlockSearch& blocks);

}  // namespace vmconvert
