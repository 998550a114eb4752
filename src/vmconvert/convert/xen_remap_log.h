#pragma once

#include <string>

#include "vmconvert/model/guest_image.h"

namespace vmconvert {

/// Which pages of the image differ from its input's, as JSON: page tables of a Xen PV guest, each
/// with hashes of both. The layout is in docs/formats/xen.md, "The log of what was translated".
/// @throws Error(usage) if no page tables were translated; Error(io) as the sources do
std::string xen_remap_log(const std::string& file, const GuestImage& image);

}  // namespace vmconvert
