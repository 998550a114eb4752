#pragma once

#include "vmconvert/model/format.h"

namespace vmconvert::xen {

/// Dump-cores of Xen guests: xl dump-core, virsh dump, and what Xen 3.0 wrote. docs/formats/xen.md
extern const Format kXenCore;

}  // namespace vmconvert::xen
