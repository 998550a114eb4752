#pragma once

#include <memory>

#include "kdump/kdump_header.h"
#include "vmconvert/base/diagnostics.h"
#include "vmconvert/model/guest_image.h"

namespace vmconvert::kdump {

/// What read_pages() found besides memory.
struct PageSummary {
  std::uint64_t stored = 0;        ///< pages that the dump holds
  std::uint64_t excluded = 0;      ///< page frames that exist and whose content was left out
  bool excluded_are_zero = false;  ///< they were zero, and are zero in the image
  std::string codecs;              ///< of the pages: "zlib", "lzo, zstd", "none"
};

/// Puts the dump's pages into the image, as a source that decompresses what is read and runs over
/// it; pages that share the one zero page become zero runs. All descriptors are proven here, and
/// with `salvage` all pages decompressed once: those that are damaged are left out and reported.
/// @throws Error(corrupt, unsupported)
PageSummary read_pages(std::shared_ptr<const ByteSource> dump, const Header& header, bool salvage,
                       GuestImage& image, Diagnostics& diagnostics);

}  // namespace vmconvert::kdump
