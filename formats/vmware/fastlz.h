#pragma once

#include <cstddef>
#include <span>

namespace vmconvert::vmware {

/// Decompresses a FastLZ stream (level 1 or 2, told by its first byte) into the whole of `plain`.
/// Safe from many threads.
/// @throws DecodeError if it is damaged or gives more or fewer bytes
void decode_fastlz(std::span<const std::byte> packed, std::span<std::byte> plain);

}  // namespace vmconvert::vmware
