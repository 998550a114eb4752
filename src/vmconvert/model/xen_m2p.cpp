#include "vmconvert/model/xen_m2p.h"

#include <algorithm>
#include <limits>

namespace vmconvert {
namespace {

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
}

std::optional<std::size_t> XenM2p::Lookup::find_index(Mfn mfn) {
  const auto& entries = m2p_.entries_;
  // Page tables mostly map neighbours one after the other.
  const std::size_t next = hint_ + 1;
  if (next < entries.size() && entries[next].mfn == mfn.value) return hint_ = next;
  const auto found = std::partition_point(
      entries.begin(), entries.end(), [&](const Entry& entry) { return entry.mfn < mfn.value; });
  if (found == entries.end() || found->mfn != mfn.value) return std::nullopt;
  return hint_ = static_cast<std::size_t>(found - entries.begin());
}

std::optional<Pfn> XenM2p::Lookup::find(Mfn mfn) {
  const auto index = find_index(mfn);
  if (!index) return std::nullopt;
  return m2p_.pfn_at(*index);
}

}  // namespace vmconvert
