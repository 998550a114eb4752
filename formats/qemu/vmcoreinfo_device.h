#pragma once

#include <optional>

#include "qemu/qevm_stream.h"
#include "vmconvert/model/guest_image.h"

namespace vmconvert::qemu {

/// The kernel's VMCOREINFO, if the guest told its vmcoreinfo device where it is and it is there.
/// A place that holds no such note is reported as a warning.
std::optional<Vmcoreinfo> read_vmcoreinfo(const GuestImage& image, const QevmStream& stream,
                                          const ByteSource& source, Diagnostics& diagnostics);

}  // namespace vmconvert::qemu
