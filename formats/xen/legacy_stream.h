#pragma once

#include <span>

#include "vmconvert/base/diagnostics.h"
#include "vmconvert/io/byte_source.h"
#include "xen/saved_guest.h"

namespace vmconvert::xen {

/// True if a stream of a PV guest of Xen 4.5 or older begins so: it has no magic, but blocks of
/// extended information near its beginning. 32 bytes decide.
bool is_legacy_stream(std::span<const std::byte> head);

/// Reads a stream of Xen 4.5 or older, of a 32-bit or 64-bit toolstack, PV or HVM. Of one with
/// checkpoints the last complete one counts.
/// @throws Error(corrupt, unsupported)
SavedGuest read_legacy_stream(const ByteSource& source, FileOffset begin, bool salvage,
                              Diagnostics& diagnostics);

}  // namespace vmconvert::xen
