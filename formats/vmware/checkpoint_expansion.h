#pragma once

#include <vector>

#include "vmware/checkpoint.h"

namespace vmconvert::vmware {

/// What a compressed block that is all there expands to; its memory_size bytes are held in memory.
/// How such blocks are coded is not documented: a zlib stream and the container of compressed
/// memory files are told by their content.
/// @throws Error(corrupt) if it is damaged, Error(unsupported) if it is coded in another way
std::vector<std::byte> expanded(const ByteSource& file, const Tag& tag);

}  // namespace vmconvert::vmware
