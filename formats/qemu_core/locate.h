#pragma once

#include <memory>
#include <optional>

#include "qemu_core/layout.h"
#include "qemu_core/memory_structures.h"
#include "qemu_core/process_memory.h"
#include "qemu_core/process_notes.h"
#include "vmconvert/base/diagnostics.h"
#include "vmconvert/model/format.h"

namespace vmconvert::qemu_core {

/// QEMU's memory map in the process, and how it was found.
struct Located {
  FlatMap map;
  Layout layout;
  /// The vmcoreinfo device's state, if debug information leads to it; a null pointer if there is
  /// no such device.
  std::optional<ProcessAddr> vmcoreinfo_state;
};

/// Finds the map with debug information, with symbols, or by search, in this order.
/// @throws Error(io, unsupported, usage) if it is not found, or a file that the user named does not
///         fit
Located locate_map(ProcessMemory& memory, const ProcessNotes& notes, const ReadOptions& options,
                   Diagnostics& diagnostics);

}  // namespace vmconvert::qemu_core
