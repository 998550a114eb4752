#pragma once

#include <cstddef>
#include <cstdint>

#include "vmconvert/model/format.h"

namespace vmconvert::test {

/// Converts a machine that is saved in two files: the bytes are the size of the first, 32 bits,
/// little-endian, then both. Each is read with the other beside it.
/// @param extension  of the first, as in ".vmss"; the second is a .vmem
void convert_hostile_halves(const Format& state, const char* extension, const Format& memory,
                            const std::uint8_t* data, std::size_t size);

}  // namespace vmconvert::test
