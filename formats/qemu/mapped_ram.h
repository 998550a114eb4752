#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "vmconvert/base/address.h"
#include "vmconvert/base/diagnostics.h"
#include "vmconvert/io/cursor.h"
#include "vmconvert/model/run_list.h"

namespace vmconvert::qemu {

/// Where a block's pages lie under the capability mapped-ram.
struct MappedBlock {
  FileRange bitmap;  ///< a bit per page, in 64-bit words of the host's byte order
  FileRange pages;   ///< page i lies at i * page size if bit i is set; else it is zero
};

/// Reads the header that follows a block of `length` bytes in the block list.
/// @throws Error(corrupt) if bitmap or pages cannot be where it says, Error(unsupported)
MappedBlock read_mapped_header(Cursor& cursor, std::uint32_t page_size, std::uint64_t length);

/// The byte order of the host that wrote these blocks' bitmaps, which nothing tells: a block whose
/// pages do not fill its last word shows it, else a page that is zero in the file has its bit
/// clear.
std::endian bitmap_order(const ByteSource& source, std::span<const MappedBlock> blocks,
                         std::uint32_t page_size);

/// Adds the pages whose bits are set, as far as the source reaches.
/// @returns how many there are  @throws Error(corrupt) if bits beyond the block are set
std::uint64_t add_mapped_pages(const ByteSource& source, const MappedBlock& block,
                               std::endian order, std::uint32_t page_size, RunListBuilder& pages);

}  // namespace vmconvert::qemu
