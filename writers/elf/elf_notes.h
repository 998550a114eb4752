#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "vmconvert/model/guest_image.h"

namespace vmconvert::elf {

/// The content of PT_NOTE: the image's own notes if it has any; else NT_PRSTATUS and what more the
/// architecture has of every vCPU, then on x86 QEMU's note of every vCPU; then the image's
/// VMCOREINFO, unless one of its own notes holds the same; what the image does not have is left
/// out. Last, of a guest of Xen, the note that tells of its p2m. Headers and numbers are in the
/// guest's byte order. Each note is padded to 4 bytes.
/// @param xen_p2m  where the p2m lies that the vmcore has for it; its root is the first page
std::vector<std::byte> make_notes(const GuestImage& image,
                                  std::optional<GuestRange> xen_p2m = std::nullopt);

}  // namespace vmconvert::elf
