#pragma once

#include "support/byte_writer.h"

namespace vmconvert::test {

/// A FastLZ stream of level 1 or 2, with near and far matches where the bytes have them.
Bytes fastlz_stream(std::span<const std::byte> plain, unsigned level = 2);

/// A compressed memory file of VMware: blocks of `block_size` plain bytes, each as a stream, or as
/// it is if that is no longer.
Bytes compressed_memory(std::span<const std::byte> plain, std::size_t block_size = 0x400000,
                        unsigned level = 2);

}  // namespace vmconvert::test
