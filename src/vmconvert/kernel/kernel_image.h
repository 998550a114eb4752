#pragma once

#include <optional>
#include <string>
#include <vector>

#include "vmconvert/kernel/page_tables.h"
#include "vmconvert/model/guest_image.h"

namespace vmconvert {

/// What lies within a kernel's image in guest memory.
struct KernelImageContent {
  /// linux_banner without its end of line; empty if there is none. Of several the one with a build
  /// number ("#1"): Linux 6.1 and later also keep a weak version of the text without it.
  std::string banner;
  /// Where it stands: linux_banner itself, but also copies of it, such as the one in the kernel's
  /// log.
  std::vector<GuestVirtAddr> banner_places;
  /// VMCOREINFO that the image holds or points to, in the order found; the same text once.
  std::vector<Vmcoreinfo> notes;
  std::vector<GuestVirtAddr> btf;         ///< where type information seems to begin
  std::vector<GuestVirtAddr> idle_names;  ///< where the name of CPU 0's idle task stands
};

/// Searches the image for "Linux version " and for VMCOREINFO. Linux keeps the latter on a page of
/// its own (kernel 4.13 and later) to which variables in the image point, before in the image
/// itself: so what is found belongs to this kernel, not to one that ran before or to a nested
/// guest.
/// @param mappings  of the image; those parts that are not in guest memory are passed over
/// @param page_offset  gva - gpa in the direct map, where the kernel's pointers lead to
KernelImageContent search_kernel_image(const GuestImage& image,
                                       const std::vector<Mapping>& mappings,
                                       std::optional<std::uint64_t> page_offset);

/// The release in a banner: "6.1.0-18-amd64"; empty if it has none.
std::string release_of(std::string_view banner);

}  // namespace vmconvert
