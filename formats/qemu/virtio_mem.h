#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "qemu/qevm_stream.h"
#include "vmconvert/base/address.h"

namespace vmconvert::qemu {

/// What a virtio-mem device's state says about its memory.
struct VirtioMem {
  GuestRange region;
  std::vector<GuestRange> plugged;  ///< sorted, disjoint: what the guest may use
};

/// Finds the state of the virtio-mem device that owns `block`: in its early section (QEMU 8.0 and
/// later), else in its virtio state, whose layout nothing in the stream describes. A place is
/// believed if region and block size fit and the bitmap's population is the plugged size.
std::optional<VirtioMem> find_virtio_mem(const QevmStream& stream, const RamBlock& block,
                                         const ByteSource& source);

}  // namespace vmconvert::qemu
