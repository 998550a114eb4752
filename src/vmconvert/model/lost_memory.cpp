#include "vmconvert/model/lost_memory.h"

#include "vmconvert/base/text.h"

namespace vmconvert {
namespace {

constexpr std::size_t kMostListed = 20;

}  // namespace

void LostMemory::add(GuestRange range, const std::string& why) {
  if (range.empty()) return;
  if (bytes_ == 0) why_ = why;
  bytes_ += range.size();
  if (!ranges_.empty() && ranges_.back().end() == range.begin()) {
    ranges_.back() = GuestRange::between(ranges_.back().begin(), range.end());
  } else if (more_ranges_ == 0 && ranges_.size() < kMostListed) {
    ranges_.push_back(range);
  } else {
    ++more_ranges_;
  }
}

void LostMemory::report(Diagnostics& diagnostics) const {
  if (empty()) return;
  std::string text = why_ + "; " + human_size(bytes_) + " of guest memory left out:";
  for (const GuestRange range : ranges_) {
    text += ' ' + hex(range.begin().value) + '-' + hex(range.end().value);
  }
  if (more_ranges_ != 0) text += " and " + counted(more_ranges_, "more range");
  diagnostics.loss("", std::nullopt, text);
}

}  // namespace vmconvert
