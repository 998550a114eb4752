#pragma once

#include "vmconvert/model/format.h"

namespace vmconvert::vmware {

/// Saved states of VMware products: .vmss, .vmsn. docs/formats/vmware.md
extern const Format kVmware;
/// Their memory on its own: .vmem.
extern const Format kVmem;
/// Panic dumps: .guest.
extern const Format kPanic;

}  // namespace vmconvert::vmware
