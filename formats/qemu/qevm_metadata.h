#pragma once

#include <span>

#include "qemu/memory_map.h"
#include "qemu/qevm_stream.h"
#include "vmconvert/model/guest_image.h"

namespace vmconvert::qemu {

/// What a stream says besides memory and registers, added to the image: machine, facts, blocks with
/// their places, device sections, and the device description as an attachment.
/// @param placements  where the guest sees which block
/// @param source  of the stream; source 0 of the image
void describe_stream(const QevmStream& stream, std::span<const Placement> placements,
                     const ByteSource& source, GuestImage& image);

}  // namespace vmconvert::qemu
