#pragma once

#include "vmconvert/model/format.h"

namespace vmconvert::xen {

/// Save files and streams of Xen guests: xl save, virsh save, XAPI, and those of Xen 4.5 and older.
/// docs/formats/xen.md
extern const Format kXenSave;

}  // namespace vmconvert::xen
