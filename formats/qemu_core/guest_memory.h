#pragma once

#include "qemu_core/memory_structures.h"
#include "qemu_core/process_memory.h"
#include "qemu_core/process_notes.h"
#include "vmconvert/base/diagnostics.h"
#include "vmconvert/model/guest_image.h"

namespace vmconvert::qemu_core {

/// The guest's memory in the core: what QEMU's own dump would hold, without video memory and ROMs,
/// but with what an x86 guest sees below 1 MiB.
/// @throws Error(unsupported) if a part of it is not in the core, unless `salvage` is set
RunList read_guest_memory(const ProcessMemory& memory, const ProcessNotes& notes,
                          const FlatMap& map, Arch arch, bool salvage, Diagnostics& diagnostics);

}  // namespace vmconvert::qemu_core
