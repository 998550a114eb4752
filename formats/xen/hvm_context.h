#pragma once

#include <vector>

#include "vmconvert/io/byte_source.h"
#include "vmconvert/model/metadata.h"
#include "vmconvert/model/vcpu.h"

namespace vmconvert::xen {

/// What Xen saved of the virtual hardware of an HVM or PVH guest.
struct HvmContext {
  std::vector<X86Registers> vcpus;  ///< by number; Xen leaves out those that are offline
  std::vector<DeviceRecord> devices;
};

/// Reads the records of an HVM context.
/// @throws Error(corrupt) if they do not fit `range`, have no end or name a vCPU twice,
///         Error(unsupported) if a CPU record is of a size that is not known
HvmContext read_hvm_context(const ByteSource& source, FileRange range);

}  // namespace vmconvert::xen
