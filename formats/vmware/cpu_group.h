#pragma once

#include <cstdint>
#include <vector>

#include "vmconvert/base/diagnostics.h"
#include "vmconvert/model/vcpu.h"
#include "vmware/checkpoint.h"

namespace vmconvert::vmware {

/// What the cpu group of a checkpoint tells.
struct CpuGroup {
  std::uint64_t vcpu_count = 0;     ///< 0 if it does not tell
  std::vector<X86Registers> vcpus;  ///< of all vCPUs in order, or empty; long_mode is not set
  bool beyond_32_bits = false;      ///< an address of a vCPU is: the guest is a 64-bit one
  bool arm = false;                 ///< it has registers of ARM64
};

/// Reads the group `cpu`, from registers with a tag each and from packed ones. What keeps registers
/// from being used is a warning, since memory is good without.
CpuGroup read_cpu_group(const Checkpoint& checkpoint, Diagnostics& diagnostics);

}  // namespace vmconvert::vmware
