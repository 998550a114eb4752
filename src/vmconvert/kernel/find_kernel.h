#pragma once

#include <optional>
#include <string>

#include "vmconvert/base/diagnostics.h"
#include "vmconvert/kernel/found_kernel.h"
#include "vmconvert/model/guest_image.h"

namespace vmconvert {

/// How far to look for a VMCOREINFO, and for a kernel, that nothing points to.
enum class Scan {
  none,
  image,   ///< follow what the image of a kernel that was found holds
  memory,  ///< if no kernel is found otherwise, read all of guest memory once
};

struct KernelOptions {
  /// A file with the text of VMCOREINFO, or its note, to use instead of the guest's own; "": none.
  std::string vmcoreinfo;
  /// The kernel's own file: checked against the guest, and what VMCOREINFO is made of where there
  /// is none; "": none.
  std::string vmlinux;
  Scan scan = Scan::memory;
};

/// Completes image.kernel: finds the running Linux kernel from the vCPUs' page tables and the
/// VMCOREINFO that the reader left there, and works out where the kernel sees its memory. Every
/// fact is checked by walking the page tables; what does not hold is left out, with the reason
/// reported. docs/kernel-facts.md has the order of what is tried.
/// @returns the kernel, which refers to `image`; nothing if none was found
/// @throws Error(usage) if a file of `options` is not of this guest; Error as read_vmlinux() does
std::optional<FoundKernel> find_kernel(GuestImage& image, const KernelOptions& options,
                                       Diagnostics& diagnostics);

}  // namespace vmconvert
