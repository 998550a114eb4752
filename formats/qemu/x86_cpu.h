#pragma once

#include <vector>

#include "qemu/qevm_stream.h"
#include "vmconvert/model/vcpu.h"

namespace vmconvert::qemu {

/// Registers from the stream's "cpu" sections, in vCPU order. Empty, with the reason reported, if
/// one of them is of a layout that is not known: an incomplete set would shift the numbering.
std::vector<Vcpu> read_x86_vcpus(const QevmStream& stream, const ByteSource& source,
                                         Diagnostics& diagnostics);

}  // namespace vmconvert::qemu
