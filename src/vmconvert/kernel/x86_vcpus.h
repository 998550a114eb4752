#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "vmconvert/model/guest_image.h"

namespace vmconvert {

/// What of an x86 vCPU leads to its page tables.
struct X86Paging {
  std::uint64_t cr3 = 0, cr4 = 0;
  std::uint64_t idt_base = 0;  ///< gva
  std::string origin;          ///< for people: "CR3 of vCPU 0"
};

/// The vCPUs that have paging on: of the image's registers or, if it has none, of the "QEMU" notes
/// of a dump. Truth for the latter: QEMU 7.2, target/i386/arch_dump.c, struct QEMUCPUState.
std::vector<X86Paging> x86_vcpus(const GuestImage& image);

}  // namespace vmconvert
