#pragma once

#include <memory>

#include "qemu/qcow2_header.h"
#include "qemu/qcow2_snapshots.h"
#include "vmconvert/base/diagnostics.h"
#include "vmconvert/io/byte_source.h"

namespace vmconvert::qemu::qcow2 {

/// The machine state of a snapshot as a source of its own. Every table entry is proven and every
/// compressed cluster unpacked once before this returns; only reading itself can fail later.
///
/// What is not allocated is zero; a backing file has no say in machine state.
/// @throws Error(corrupt) if a table leads outside the image, a cluster is used twice, or the state
///         is larger than the file can hold. With `salvage` a state that can be read up to some
///         place ends there, and the loss is reported
std::shared_ptr<const ByteSource> open_state(std::shared_ptr<const ByteSource> image,
                                             const Header& header, const SnapshotEntry& snapshot,
                                             bool salvage, Diagnostics& diagnostics);

}  // namespace vmconvert::qemu::qcow2
