#pragma once

#include "vmconvert/model/format.h"

namespace vmconvert::qemu {

/// A disk image with internal snapshots: `savevm`, virt-manager's snapshots.
/// docs/formats/qcow2.md
extern const Format kQcow2;

}  // namespace vmconvert::qemu
