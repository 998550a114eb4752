#pragma once

#include "support/byte_writer.h"
#include "vmconvert/io/decompress.h"

namespace vmconvert::test {

/// One complete stream of the codec, with checksums where the codec has them.
Bytes compress(Codec codec, std::span<const std::byte> plain);

/// An lzop file, as lzop 1.04 writes it.
struct LzopOptions {
  std::uint32_t block_size = 256 * 1024;
  std::uint32_t flags = 0x03000001 | 0x2;  ///< Unix; adler32 of plain and of packed blocks
  std::string_view name;
  Bytes extra_field;
};
Bytes lzop_file(std::span<const std::byte> plain, const LzopOptions& options = {});

}  // namespace vmconvert::test
