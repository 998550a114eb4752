#pragma once

#include "vmconvert/model/format.h"

namespace vmconvert::qemu {

/// libvirt's save image: `virsh save`, `virsh managedsave`, the memory file of an external
/// snapshot. docs/formats/libvirt-save.md
extern const Format kLibvirtSave;

}  // namespace vmconvert::qemu
