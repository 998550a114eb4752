#pragma once

#include <optional>
#include <span>

#include "qemu/qevm_stream.h"
#include "vmconvert/base/diagnostics.h"
#include "vmconvert/model/guest_image.h"

namespace vmconvert::qemu {

/// What the first display of the saved machine showed, as QEMU itself would draw it. Nothing if the
/// stream does not hold it or the device is not known; the reason is reported as a warning, other
/// displays as decisions. docs/formats/qemu-screen.md
/// @param blocks  the content of stream.blocks, in their order
/// @param image   its sources are those of `blocks`; its memory holds what some displays show
/// @throws Error(io) as the sources do
std::optional<Screen> read_screen(const QevmStream& stream, std::span<const RunList> blocks,
                                  const GuestImage& image, Diagnostics::Level absence,
                                  Diagnostics& diagnostics);

}  // namespace vmconvert::qemu
