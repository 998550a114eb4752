#pragma once

#include <optional>

#include "qemu_core/layout.h"
#include "qemu_core/memory_structures.h"
#include "qemu_core/process_memory.h"
#include "vmconvert/base/diagnostics.h"
#include "vmconvert/model/guest_image.h"

namespace vmconvert::qemu_core {

/// The note that the guest announced to QEMU's vmcoreinfo device, as QEMU's own
/// dump-guest-memory.py finds it if `device` is known, else through a search for the device's
/// state outside the blocks of `map`. Believed if a VMCOREINFO note lies at the guest address it
/// names.
/// @param image  with the guest's memory
/// @param device  the VMCoreInfoState, of which `layout` knows the fields
std::optional<Vmcoreinfo> find_vmcoreinfo(const GuestImage& image, ProcessMemory& memory,
                                          const FlatMap& map, const Layout& layout,
                                          std::optional<ProcessAddr> device,
                                          Diagnostics& diagnostics);

}  // namespace vmconvert::qemu_core
