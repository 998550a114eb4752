#pragma once

#include <memory>

#include "vmconvert/model/format.h"

namespace vmconvert::qemu {

/// QEMU's migration stream in a file: `migrate exec:` or `file:`, `virsh dump` without
/// --memory-only, Proxmox state volumes. docs/formats/qevm.md
extern const Format kQevm;

/// Reads the stream that begins at `begin` of a source; for containers that hold one.
GuestImage read_qevm(std::shared_ptr<const ByteSource> source, FileOffset begin,
                     const ReadOptions& options, Diagnostics& diagnostics);

}  // namespace vmconvert::qemu
