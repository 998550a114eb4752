#pragma once

#include <optional>

#include "vmconvert/io/byte_source.h"
#include "vmconvert/model/vcpu.h"
#include "vmconvert/model/xen_facts.h"

namespace vmconvert::xen {

/// What a vcpu_guest_context holds.
struct VcpuContext {
  Vcpu registers;
  XenVcpu xen;
};

/// Reads the vcpu_guest_context at `at`, which must hold as much as the layout takes: kContext64,
/// or kContext32 of a PV guest whose words have 4 bytes.
///
/// The selectors of a PV guest do not tell whether the kernel runs, as it does so in ring 3: if the
/// context says that it does, the privilege bits of CS and SS are cleared, which is also how Xen
/// shows them to the guest's kernel, and what tools take for kernel mode.
///
/// CR3 of a 32-bit guest is folded to have room for large frames; the registers hold the address.
VcpuContext read_x86_context(const ByteSource& source, FileOffset at, XenGuestType type,
                             unsigned width, XenTables tables);

/// Reads the kContextArm bytes at `at`; nothing if the vCPU runs 32-bit code (AArch32).
std::optional<VcpuContext> read_arm_context(const ByteSource& source, FileOffset at);

}  // namespace vmconvert::xen
