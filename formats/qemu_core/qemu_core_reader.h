#pragma once

#include "vmconvert/model/format.h"

namespace vmconvert::qemu_core {

/// A core of a qemu-system process: docs/formats/qemu-core.md.
extern const Format kQemuCore;

}  // namespace vmconvert::qemu_core
