#pragma once

#include <cstdint>

#include "vmconvert/base/diagnostics.h"
#include "vmconvert/io/byte_source.h"
#include "vmconvert/model/run_list.h"

namespace vmconvert::xen {

/// Where a core has its pages, and the list of which page of the guest each is.
struct CoreIndex {
  FileOffset pages;          ///< of page 0; the others follow it
  FileOffset entries;        ///< little-endian pfns of 64 bits
  std::uint32_t stride = 8;  ///< bytes from one pfn to the next
  std::uint64_t count = 0;   ///< of pages and of entries; both lie within the file
};

/// What an index amounts to.
struct PlacedPages {
  RunList runs{4096};          ///< backed by source 0
  std::uint64_t unused = 0;    ///< entries that stand for no page
  std::uint64_t repeated = 0;  ///< pages that an earlier entry has, too; they are left out
  std::uint64_t too_high = 0;  ///< pages that no processor could reach; they are left out
};

/// Finds where each page of a core lies in the guest. Entries may come in any order.
/// @throws Error(corrupt) if a pfn is too high, unless `salvage`
PlacedPages place_pages(const ByteSource& source, const CoreIndex& index, bool salvage);

}  // namespace vmconvert::xen
