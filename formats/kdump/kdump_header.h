#pragma once

#include <bit>
#include <cstdint>
#include <string>

#include "vmconvert/io/byte_source.h"

namespace vmconvert::kdump {

/// What the headers of a kdump-compressed dump say. Layout: docs/formats/kdump.md
struct Header {
  std::endian order = std::endian::little;  ///< of the guest, and of every field
  bool is_64 = true;                        ///< width of the guest's longs: decides the layout
  std::uint32_t version = 0;                ///< 1 to 6
  std::string machine;                      ///< utsname.machine; QEMU 10 writes "Unknown"
  std::string release;                      ///< utsname.release; QEMU leaves it empty
  std::uint32_t status = 0;                 ///< kStatus... bits
  std::uint32_t block_size = 0;             ///< bytes, the guest's page: 4 KiB to 64 KiB
  std::uint64_t max_mapnr = 0;              ///< page frame numbers are below this
  std::uint32_t dump_level = 0;             ///< makedumpfile -d; QEMU writes 1
  FileRange vmcoreinfo, notes;              ///< empty if there are none
  FileRange bitmap1, bitmap2;               ///< page frames that exist; that are in the dump
  FileOffset descriptors;                   ///< of pages, 24 bytes each
};

inline constexpr std::uint32_t kStatusIncomplete = 8;

/// @throws Error(corrupt) if a field cannot be or points outside the source, Error(unsupported) for
///         the parts of a split dump and versions that are not known
Header read_header(const ByteSource& source);

}  // namespace vmconvert::kdump
