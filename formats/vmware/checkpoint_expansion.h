#pragma once

#include <vector>

#include "vmconvert/base/diagnostics.h"
#include "vmware/checkpoint.h"

namespace vmconvert::vmware {

/// What a compressed block that is all there expands to; its memory_size bytes are held in memory.
/// How such blocks are coded is not documented: a zlib stream and the container of compressed
/// memory files are told by their content.
/// @throws Error(corrupt) if it is damaged, Error(unsupported) if it is coded in another way
std::vector<std::byte> expanded(const ByteSource& file, const Tag& tag);

/// The same in a temporary file, whatever its size; the container is not looked for.
/// @throws as expanded() does, Error(io) if there is no room
std::shared_ptr<const ByteSource> expand_to_file(const ByteSource& file, const Tag& tag,
                                                 bool salvage, Diagnostics& diagnostics);

/// What both say of a block that is coded in another way.
Error unknown_compression(const ByteSource& file, const Tag& tag);

}  // namespace vmconvert::vmware
