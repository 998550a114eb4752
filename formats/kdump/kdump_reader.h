#pragma once

#include "vmconvert/model/format.h"

namespace vmconvert::kdump {

/// kdump-compressed dumps by makedumpfile and by QEMU, plain or flattened. docs/formats/kdump.md
extern const Format kKdump;

}  // namespace vmconvert::kdump
