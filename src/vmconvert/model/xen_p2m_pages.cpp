#include "vmconvert/model/xen_p2m_pages.h"

#include <algorithm>
#include <numeric>

namespace vmconvert {
namespace {

constexpr std::uint64_t kPage = 4096, kPageShift = 12;
// An L1 is compared with those candidates that have the same frame at the same place. One frame in
// each stretch of slots is looked up, so that few that differ do not hide a pair.
constexpr std::size_t kStretch = 64, kProbes = 2;
constexpr std::size_t kMostCompared = 8;
constexpr std::size_t kFewestEqual = 16;
constexpr std::size_t kEqualPercent = 90;

using PageBytes = std::array<std::byte, kPage>;

bool read_page(const GuestImage& image, std::uint32_t pfn, PageBytes& out) {
  return read_guest(image, {std::uint64_t{pfn} << kPageShift}, out);
}

/// Equal frames at equal places; 0 if the L1 does not map the block.
std::size_t equal_frames(XenWords list, XenWords table) {
  std::size_t frames = 0, mapped = 0, equal = 0;
  for (std::size_t slot = 0; slot < kXenSlots; ++slot) {
    const bool frame = xen_p2m_entry(list[slot]) == XenP2mEntry::frame;
    const bool present = is_xen_entry(table[slot]);
    frames += frame ? 1U : 0U;
    mapped += present ? 1U : 0U;
    equal += frame && present && list[slot] == xen_entry_frame(table[slot]) ? 1U : 0U;
  }
  const bool alike =
      equal >= kFewestEqual && equal * 100 >= std::max(frames, mapped) * kEqualPercent;
  return alike ? equal : 0;
}

std::optional<XenBlockId> block_of(std::span<const XenBlockPage> pages, std::uint32_t pfn) {
  const auto found = std::partition_point(pages.begin(), pages.end(),
                                          [&](const XenBlockPage& p) { return p.pfn < pfn; });
  if (found == pages.end() || found->pfn != pfn) return std::nullopt;
  return found->block;
}

}  // namespace

XenP2mPages::XenP2mPages(const GuestImage& image, const XenCandidates& candidates) {
  sample(image, candidates.frame_lists);
  pair(image, candidates.frame_lists, candidates.tables);
  number_blocks(candidates.frame_lists);
  samples_ = {};
  index(image);
}

/// The first frame in each stretch of slots of each candidate.
void XenP2mPages::sample(const GuestImage& image, const std::vector<std::uint32_t>& lists) {
  PageBytes page;
  for (std::uint32_t i = 0; i < lists.size(); ++i) {
    if (!read_page(image, lists[i], page)) continue;
    const XenWords words(page);
    for (std::size_t begin = 0; begin < kXenSlots; begin += kStretch) {
      for (std::size_t slot = begin; slot < begin + kStretch; ++slot) {
        if (xen_p2m_entry(words[slot]) != XenP2mEntry::frame) continue;
        samples_.push_back(
            {static_cast<std::uint32_t>(words[slot]), i << 9 | static_cast<std::uint32_t>(slot)});
        break;
      }
    }
  }
  std::sort(samples_.begin(), samples_.end(), [](const Sample& a, const Sample& b) {
    return a.key() != b.key() ? a.key() < b.key() : a.place < b.place;
  });
}

/// Finds the candidate that each L1 maps all of. Blocks are numbers of candidates, for now.
void XenP2mPages::pair(const GuestImage& image, const std::vector<std::uint32_t>& lists,
                       const std::vector<std::uint32_t>& tables) {
  PageBytes table_bytes, list_bytes;
  std::vector<std::uint32_t> alike;
  for (const std::uint32_t table : tables) {
    if (!read_page(image, table, table_bytes)) continue;
    const XenWords words(table_bytes);
    if (xen_table_entries(words) < kFewestEqual) continue;
    alike.clear();
    for (std::size_t begin = 0; begin < kXenSlots; begin += kStretch) {
      std::size_t probes = 0;
      for (std::size_t slot = begin; slot < begin + kStretch && probes < kProbes; ++slot) {
        if (!is_xen_entry(words[slot])) continue;
        ++probes;
        const std::uint64_t key = xen_entry_frame(words[slot]) << 9 | slot;
        auto found = std::partition_point(samples_.begin(), samples_.end(),
                                          [&](const Sample& s) { return s.key() < key; });
        for (; found != samples_.end() && found->key() == key; ++found) {
          if (alike.size() >= kMostCompared) break;
          if (std::find(alike.begin(), alike.end(), found->candidate()) == alike.end())
            alike.push_back(found->candidate());
        }
      }
    }
    std::size_t most = 0;
    std::uint32_t best = 0;
    for (const std::uint32_t candidate : alike) {
      if (!read_page(image, lists[candidate], list_bytes)) continue;
      const std::size_t equal = equal_frames(XenWords(list_bytes), words);
      if (equal > most) {
        most = equal;
        best = candidate;
      }
    }
    if (most != 0) tables_.push_back({table, best});
  }
}

/// Candidates that are of the same block, as a stale p2m and the one in use are, get one number.
void XenP2mPages::number_blocks(const std::vector<std::uint32_t>& lists) {
  std::vector<std::uint32_t> parent(lists.size());
  std::iota(parent.begin(), parent.end(), 0U);
  const auto root = [&](std::uint32_t i) {
    while (parent[i] != i) i = parent[i] = parent[parent[i]];
    return i;
  };
  std::vector<bool> paired(lists.size());
  for (const XenBlockPage& table : tables_) paired[table.block] = true;
  const Sample* last = nullptr;
  for (const Sample& sample : samples_) {
    if (!paired[sample.candidate()]) continue;
    if (last != nullptr && last->key() == sample.key()) {
      const std::uint32_t a = root(last->candidate()), b = root(sample.candidate());
      parent[std::max(a, b)] = std::min(a, b);
    }
    last = &sample;
  }
  std::vector<std::uint32_t> number(lists.size());
  for (std::uint32_t i = 0; i < lists.size(); ++i) {
    if (!paired[i]) continue;
    const std::uint32_t first = root(i);
    if (first == i) {
      number[i] = blocks_++;
      chosen_.push_back(lists[i]);
    }
    pages_.push_back({lists[i], number[first]});
  }
  for (XenBlockPage& table : tables_) table.block = number[root(table.block)];
}

void XenP2mPages::index(const GuestImage& image) {
  frames_.reserve(std::uint64_t{blocks_} * kXenSlots);
  PageBytes page;
  for (XenBlockId block = 0; block < blocks_; ++block) {
    if (!read_page(image, chosen_[block], page)) continue;
    const XenWords words(page);
    for (std::size_t slot = 0; slot < kXenSlots; ++slot) {
      if (xen_p2m_entry(words[slot]) == XenP2mEntry::frame)
        frames_.add({std::uint64_t{block} << 9 | slot}, {words[slot]});
    }
  }
  frames_.finish();
  lookup_.emplace(frames_);
}

std::optional<XenBlockSlot> XenP2mPages::find(Mfn mfn) {
  const auto place = lookup_->find(mfn);
  if (!place) return std::nullopt;
  return XenBlockSlot{static_cast<XenBlockId>(place->value >> 9),
                      static_cast<unsigned>(place->value & 511)};
}

std::optional<XenBlockId> XenP2mPages::block_of_page(std::uint32_t pfn) const {
  return block_of(pages_, pfn);
}

std::optional<XenBlockId> XenP2mPages::block_of_table(std::uint32_t pfn) const {
  return block_of(tables_, pfn);
}

}  // namespace vmconvert
