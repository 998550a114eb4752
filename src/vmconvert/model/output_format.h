#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "vmconvert/model/guest_image.h"
#include "vmconvert/model/output_plan.h"

namespace vmconvert {

struct WriteOptions {
  /// raw: the largest hole in guest-physical space that becomes a hole in the file, bytes.
  std::uint64_t max_gap = std::uint64_t{1} << 40;
};

/// One output format.
struct OutputFormat {
  std::string_view name;                       ///< --to value and name of its page in docs/writers
  std::string_view summary;                    ///< one line for `vmconvert formats`
  std::span<const std::string_view> suffixes;  ///< of output names, with the dot, lower case
  /// @throws Error(usage, unsupported) if the format cannot hold this image
  OutputPlan (*plan)(const GuestImage& image, const WriteOptions& options);
  bool tells_of_kernel = false;  ///< whether the output holds VMCOREINFO and gvas
  bool takes_machine_layout = false;  ///< XenFacts::machine_layout is followed
};

}  // namespace vmconvert
