#pragma once

#include <cstddef>
#include <vector>

#include "vmconvert/model/metadata.h"

namespace vmconvert {

/// A picture of a screen as a PNG file: 8 bits a channel, RGB, no text, no time. The same screen
/// gives the same bytes.
/// @throws Error(unsupported) if it is larger than a PNG can be
std::vector<std::byte> encode_png(const Screen& screen);

}  // namespace vmconvert
