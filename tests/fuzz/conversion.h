#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "vmconvert/model/format.h"

namespace vmconvert::test {

/// Reads the bytes with the format, screen included, with and without salvage, and converts what comes out with
/// every writer. An Error is fine; anything else, and an image or plan that breaks its promises,
/// ends the process. Memory stays small: only small plans are executed, into memory.
/// @param neighbours  files beside "input", as the bytes are called
void convert_hostile(const Format& format, const std::uint8_t* data, std::size_t size,
                     std::shared_ptr<const Neighbours> neighbours = nullptr);

/// Converts an image that was read without salvage with the writer of this name.
void write_hostile(std::string_view writer, const GuestImage& image);

/// convert_hostile() without the writers: tries more inputs per second.
void read_hostile(const Format& format, const std::uint8_t* data, std::size_t size);

}  // namespace vmconvert::test
