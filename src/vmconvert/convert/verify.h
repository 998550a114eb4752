#pragma once

#include <string>
#include <vector>

#include "vmconvert/base/diagnostics.h"
#include "vmconvert/kernel/find_kernel.h"
#include "vmconvert/model/guest_image.h"

namespace vmconvert {

/// One thing that was looked at.
struct Finding {
  enum class State {
    good,
    absent,    ///< not there; the image may be useful without
    doubtful,  ///< an analysis tool would stumble over it
  };
  std::string what;  ///< "vmcoreinfo"
  State state = State::good;
  std::string text;  ///< for people
};

/// Whether an image would be of use to crash, drgn and Volatility 3, as far as can be told without
/// the kernel's debug information: its memory, notes and VMCOREINFO, the kernel reached through
/// page tables, and the tasks reached through init_task.
/// @throws Error as find_kernel() does
std::vector<Finding> verify(GuestImage& image, const KernelOptions& options,
                            Diagnostics& diagnostics);

/// True if nothing is doubtful and a running kernel was reached.
bool is_usable(const std::vector<Finding>& findings);

}  // namespace vmconvert
