#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "vmconvert/base/address.h"
#include "vmconvert/base/diagnostics.h"

namespace vmconvert {

/// Collects guest memory that --salvage has to leave out, for one message about all of it.
class LostMemory {
 public:
  /// @param why  of the first loss, as an Error says it
  void add(GuestRange range, const std::string& why);
  bool empty() const { return bytes_ == 0; }
  /// "WHY; N of guest memory left out: RANGES"; nothing if nothing was lost.
  void report(Diagnostics& diagnostics) const;

 private:
  std::vector<GuestRange> ranges_;  ///< the first few
  std::uint64_t more_ranges_ = 0;
  std::uint64_t bytes_ = 0;
  std::string why_;
};

}  // namespace vmconvert
