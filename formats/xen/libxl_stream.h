#pragma once

#include <span>

#include "vmconvert/base/diagnostics.h"
#include "vmconvert/io/byte_source.h"
#include "xen/saved_guest.h"

namespace vmconvert::xen {

/// Reads a stream of xl, the libxc stream in it, or a bare one: `begin` is where either begins. Of
/// one with checkpoints that has no end, the last complete checkpoint counts.
/// @param salvage  keep what a truncated or damaged stream holds, and tell what is lost
/// @throws Error(corrupt, unsupported)
SavedGuest read_stream(const ByteSource& source, FileOffset begin, bool salvage,
                       Diagnostics& diagnostics);

/// True if a libxl stream begins so; 16 bytes decide.
bool is_libxl_stream(std::span<const std::byte> head);
/// True if a libxc stream of version 2 or later begins so; 24 bytes decide.
bool is_libxc_stream(std::span<const std::byte> head);

}  // namespace vmconvert::xen
