#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "vmconvert/model/guest_image.h"

namespace vmconvert {

/// Every VMCOREINFO at the beginning of a page anywhere in guest memory, notes before bare texts;
/// the same text once. Reads all of memory that is not known to be zero.
std::vector<Vmcoreinfo> scan_for_vmcoreinfo(const GuestImage& image);

/// Where in guest memory `text` lies whose gva is `like` in a kernel image that is moved by whole
/// pages: the place within the page is the same. At most 64 places, ascending.
std::vector<GuestPhysAddr> scan_for_text(const GuestImage& image, std::string_view text,
                                         std::uint64_t like);

}  // namespace vmconvert
