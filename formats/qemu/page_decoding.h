#pragma once

#include <memory>

#include "qemu/qevm_stream.h"
#include "vmconvert/base/diagnostics.h"
#include "vmconvert/io/byte_source.h"

namespace vmconvert::qemu {

/// Makes the source kDecodedPages of a stream. Deltas are applied here, in the order of the stream,
/// and the pages kept in a temporary file: a page and its deltas can be anywhere, and a page can
/// have any number of them. Compressed pages are inflated when they are read.
/// @param salvage  pages whose records are damaged are left out and reported as a loss; for that,
///                 every compressed page is inflated once
/// @returns nullptr if the stream holds all pages as their bytes
/// @throws Error(corrupt) for a damaged delta, Error(io)
std::shared_ptr<const ByteSource> decode_pages(const std::shared_ptr<const ByteSource>& source,
                                               QevmStream& stream, bool salvage,
                                               Diagnostics& diagnostics);

}  // namespace vmconvert::qemu
