#include "vmconvert/model/xen_m2p.h"

#include <algorithm>
#include <limits>

namespace vmconvert {
namespace {

// Fewer make each search longer, more take memory: a sixteenth of a byte per entry.
constexpr std::uint64_t kEntriesPerStart = 64;

constexpr std::uint64_t kMost = std::numeric_limits<std::uint32_t>::max();

}  // namespace

void XenM2p::add(Pfn pfn, Mfn mfn) {
  if (pfn.value > kMost || mfn.value > kMost) return;
  entries_.push_back(
      {static_cast<std::uint32_t>(mfn.value), static_cast<std::uint32_t>(pfn.value)});
}

void XenM2p::finish() {
  const auto by_mfn = [](const Entry& a, const Entry& b) {
    return a.mfn != b.mfn ? a.mfn < b.mfn : a.pfn < b.pfn;
  };
  std::sort(entries_.begin(), entries_.end(), by_mfn);
  const auto end = std::unique(entries_.begin(), entries_.end(),
                               [](const Entry& a, const Entry& b) { return a.mfn == b.mfn; });
  duplicates_ = static_cast<std::uint64_t>(entries_.end() - end);
  entries_.erase(end, entries_.end());
  starts_.clear();
  if (entries_.empty()) return;
  const std::uint64_t first = entries_.front().mfn, span = entries_.back().mfn - first + 1;
  shift_ = 0;
  while ((span >> shift_) > entries_.size() / kEntriesPerStart + 1) ++shift_;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    while (starts_.size() <= (entries_[i].mfn - first) >> shift_)
      starts_.push_back(static_cast<std::uint32_t>(i));
  }
}

std::vector<XenM2p::Entry>::const_iterator XenM2p::candidate(std::uint64_t mfn) const {
  if (entries_.empty() || mfn < entries_.front().mfn || mfn > entries_.back().mfn) {
    return entries_.end();
  }
  const auto bucket = static_cast<std::size_t>((mfn - entries_.front().mfn) >> shift_);
  const auto at = [&](std::size_t number) {
    return number < starts_.size() ? entries_.begin() + static_cast<std::ptrdiff_t>(starts_[number])
                                   : entries_.end();
  };
  return std::partition_point(at(bucket), at(bucket + 1),
                              [&](const Entry& entry) { return entry.mfn < mfn; });
}

std::optional<std::size_t> XenM2p::Lookup::find_index(Mfn mfn) {
  const auto& entries = m2p_.entries_;
  // Page tables mostly map neighbours one after the other.
  const std::size_t next = hint_ + 1;
  if (next < entries.size() && entries[next].mfn == mfn.value) return hint_ = next;
  const auto found = m2p_.candidate(mfn.value);
  if (found == entries.end() || found->mfn != mfn.value) return std::nullopt;
  return hint_ = static_cast<std::size_t>(found - entries.begin());
}

std::optional<Pfn> XenM2p::Lookup::find(Mfn mfn) {
  const auto index = find_index(mfn);
  if (!index) return std::nullopt;
  return m2p_.pfn_at(*index);
}

}  // namespace vmconvert
