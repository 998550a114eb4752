#include "vmconvert/model/xen_block_search.h"

#include <algorithm>
#include <array>

namespace vmconvert {
namespace {

constexpr std::uint64_t kPage = 4096, kPageShift = 12;
constexpr std::uint32_t kUnknown = 0xffffffff;
// Linux 4.20 and later map memory from slot 273 on, earlier ones from 272.
constexpr std::size_t kNewSlot = 273, kOldSlot = 272;
// An L2 or L3 of the direct map leads to pages of the guest alone.
constexpr std::size_t kKnownPercent = 90;
// Steps of narrow() in all: hostile images may have many tables that fit everywhere.
constexpr std::uint64_t kMostEffort = std::uint64_t{1} << 26;
constexpr std::uint32_t kNumbersEnd = static_cast<std::uint32_t>(kXenFramesEnd / kXenSlots);

// Each round tells at least one more block; those of real guests need a handful.
constexpr unsigned kMostRounds = 256;

std::uint32_t slot_of(std::uint32_t pfn) { return pfn % kXenSlots; }

/// The highest of some counts, and how many of them are that high.
struct Most {
  std::uint32_t count = 0, times = 0;
  void add(std::uint32_t n) {
    if (n > count) *this = {n, 0};
    if (n == count) ++times;
  }
  bool is_only(std::uint32_t n) const { return n == count && times == 1; }
};

}  // namespace

XenBlockSearch::XenBlockSearch(const GuestImage& image, const XenCandidates& candidates,
                               XenP2mPages& pages)
    : image_(image),
      candidates_(candidates),
      pages_(pages),
      numbers_(pages.blocks(), kUnknown),
      tables_by_block_(pages.tables().begin(), pages.tables().end()),
      tables_by_slot_(candidates.tables),
      l1s_by_slot_(tables_by_block_) {
  std::sort(tables_by_block_.begin(), tables_by_block_.end(),
            [](const XenBlockPage& a, const XenBlockPage& b) {
              return a.block != b.block ? a.block < b.block : a.pfn < b.pfn;
            });
  const auto by_slot = [](std::uint32_t a, std::uint32_t b) {
    return slot_of(a) != slot_of(b) ? slot_of(a) < slot_of(b) : a < b;
  };
  std::sort(tables_by_slot_.begin(), tables_by_slot_.end(), by_slot);
  std::sort(l1s_by_slot_.begin(), l1s_by_slot_.end(),
            [&](const XenBlockPage& a, const XenBlockPage& b) { return by_slot(a.pfn, b.pfn); });
  vote();
  find_direct_map();
  bool more = true;
  for (unsigned round = 0; more && round < kMostRounds; ++round) {
    more = read_upper_tables();
    for (std::uint32_t i = 0; i < l2s_.size(); ++i) more = follow_l2(i) || more;
    if (!more) more = narrow();
  }
}

/// Each L4 that maps itself says which page its frame is, and so does the start_info page. Of what
/// disagrees, as copies of such pages do, most votes count.
void XenBlockSearch::vote() {
  std::map<std::pair<XenBlockId, std::uint32_t>, std::uint32_t> votes;
  for (const XenSeed& seed : candidates_.seeds) {
    const auto place = pages_.find({seed.mfn});
    if (place && place->slot == slot_of(seed.pfn)) ++votes[{place->block, seed.pfn / kXenSlots}];
  }
  std::map<XenBlockId, Most> by_block;
  std::map<std::uint32_t, Most> by_number;
  for (const auto& [what, count] : votes) {
    by_block[what.first].add(count);
    by_number[what.second].add(count);
  }
  for (const auto& [what, count] : votes) {
    if (by_block[what.first].is_only(count) && by_number[what.second].is_only(count))
      assign(what.first, what.second);
  }
}

void XenBlockSearch::find_direct_map() {
  std::map<std::pair<std::size_t, std::uint64_t>, std::uint32_t> votes;
  std::array<std::byte, kPage> bytes;
  for (const XenSeed& seed : candidates_.seeds) {
    if (!seed.l4 || find({seed.mfn}) != Pfn{seed.pfn}) continue;
    if (!read_guest(image_, {std::uint64_t{seed.pfn} << kPageShift}, bytes)) continue;
    const XenWords words(bytes);
    const std::size_t slot = is_xen_entry(words[kOldSlot]) ? kOldSlot : kNewSlot;
    if (is_xen_entry(words[slot])) ++votes[{slot, xen_entry_frame(words[slot])}];
  }
  const auto most = std::max_element(
      votes.begin(), votes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most == votes.end()) return;
  const auto place = pages_.find({most->first.second});
  if (!place) return;
  direct_map_slot_ = most->first.first;
  l3_at_ = place->block << 9 | place->slot;
}

bool XenBlockSearch::assign(XenBlockId block, std::uint32_t number) {
  if (numbers_[block] != kUnknown || number >= kNumbersEnd || owners_.contains(number))
    return false;
  numbers_[block] = number;
  owners_.emplace(number, block);
  return true;
}

std::optional<std::uint32_t> XenBlockSearch::number_of(XenBlockId block) const {
  if (numbers_.at(block) == kUnknown) return std::nullopt;
  return numbers_[block];
}

std::optional<XenBlockId> XenBlockSearch::block_at(std::uint32_t number) const {
  const auto found = owners_.find(number);
  if (found == owners_.end()) return std::nullopt;
  return found->second;
}

std::optional<Pfn> XenBlockSearch::find(Mfn mfn) {
  const auto place = pages_.find(mfn);
  if (!place || numbers_[place->block] == kUnknown) return std::nullopt;
  return Pfn{std::uint64_t{numbers_[place->block]} * kXenSlots + place->slot};
}

std::optional<std::uint32_t> XenBlockSearch::page_at(Place place) const {
  if (place == kNowhere || numbers_[place >> 9] == kUnknown) return std::nullopt;
  return static_cast<std::uint32_t>(numbers_[place >> 9] * kXenSlots + (place & 511));
}

XenBlockSearch::Table XenBlockSearch::read_table(std::uint32_t pfn) {
  std::array<std::byte, kPage> bytes;
  if (!read_guest(image_, {std::uint64_t{pfn} << kPageShift}, bytes)) return {};
  const XenWords words(bytes);
  Table table{std::vector<bool>(kXenSlots), std::vector<Place>(kXenSlots, kNowhere)};
  std::size_t present = 0, known = 0;
  for (std::size_t slot = 0; slot < kXenSlots; ++slot) {
    if (!is_xen_entry(words[slot])) continue;
    ++present;
    table.presents[slot] = true;
    if (const auto place = pages_.find({xen_entry_frame(words[slot])})) {
      table.entries[slot] = place->block << 9 | place->slot;
      ++known;
    }
  }
  if (present == 0 || known * 100 < present * kKnownPercent) return {};
  return table;
}

bool XenBlockSearch::read_upper_tables() {
  bool more = false;
  if (l2s_.empty()) {
    const auto l3 = page_at(l3_at_);
    if (!l3) return false;
    const Table table = read_table(*l3);
    l2s_.resize(table.entries.size());
    for (std::size_t i = 0; i < l2s_.size(); ++i) {
      l2s_[i].present = table.presents[i];
      l2s_[i].at = table.entries[i];
    }
    more = !l2s_.empty();
    if (l2s_.empty()) l3_at_ = kNowhere;
  }
  for (L2& l2 : l2s_) {
    const auto page = page_at(l2.at);
    if (!page || !l2.entries.empty()) continue;
    Table table = read_table(*page);
    l2.entries = std::move(table.entries);
    l2.presents = std::move(table.presents);
    if (l2.entries.empty()) l2.at = kNowhere;  // not asked again
    more = true;
  }
  return more;
}

/// An L1 whose page is known tells the number of its block; a block whose number is known tells
/// which page its L1 is, if it has one.
bool XenBlockSearch::follow_l2(std::uint32_t gibibyte) {
  bool more = false;
  const std::vector<Place>& entries = l2s_[gibibyte].entries;
  for (std::uint32_t i = 0; i < entries.size(); ++i) {
    if (entries[i] == kNowhere) continue;
    const std::uint32_t number = gibibyte * static_cast<std::uint32_t>(kXenSlots) + i;
    if (const auto page = page_at(entries[i])) {
      const auto block = pages_.block_of_table(*page);
      more = (block && assign(*block, number)) || more;
    } else if (const auto owner = block_at(number)) {
      std::vector<std::uint32_t> found;
      for_each_table_at(*owner, entries[i] & 511, [&](std::uint32_t pfn) { found.push_back(pfn); });
      if (found.size() == 1)
        more = assign(entries[i] >> 9, found[0] / static_cast<std::uint32_t>(kXenSlots)) || more;
    }
  }
  return more;
}

/// L1s of a block whose page number ends in `slot`.
template <class Visit>
void XenBlockSearch::for_each_table_at(XenBlockId block, unsigned slot, const Visit& visit) const {
  auto table = std::partition_point(tables_by_block_.begin(), tables_by_block_.end(),
                                    [&](const XenBlockPage& p) { return p.block < block; });
  for (; table != tables_by_block_.end() && table->block == block; ++table) {
    if (slot_of(table->pfn) == slot) visit(table->pfn);
  }
}

/// Where nothing is known of a block that holds tables of the direct map: the number with which all
/// of these are tables of the right kind, if there is but one.
bool XenBlockSearch::narrow() {
  bool more = false;
  for (const auto& [block, targets] : open_targets()) {
    const auto number = only_number(block, targets);
    more = (number && assign(block, *number)) || more;
  }
  return more;
}

std::map<XenBlockId, XenBlockSearch::Targets> XenBlockSearch::open_targets() const {
  std::map<XenBlockId, Targets> open;
  const auto is_open = [&](Place place) {
    return place != kNowhere && numbers_[place >> 9] == kUnknown;
  };
  if (is_open(l3_at_)) open[l3_at_ >> 9].upper.push_back(l3_at_ & 511);
  for (std::uint32_t g = 0; g < l2s_.size(); ++g) {
    if (is_open(l2s_[g].at)) open[l2s_[g].at >> 9].upper.push_back(l2s_[g].at & 511);
    const std::vector<Place>& entries = l2s_[g].entries;
    for (std::uint32_t i = 0; i < entries.size(); ++i) {
      if (!is_open(entries[i])) continue;
      open[entries[i] >> 9].l1s.push_back(
          {g * static_cast<std::uint32_t>(kXenSlots) + i, entries[i] & 511});
    }
  }
  return open;
}

std::optional<std::uint32_t> XenBlockSearch::only_number(XenBlockId block, const Targets& targets) {
  std::optional<std::uint32_t> only;
  bool several = false;
  const auto consider = [&](std::uint32_t pfn) {
    const auto number = pfn / static_cast<std::uint32_t>(kXenSlots);
    if (several || number == only || !fits(block, targets, number)) return;
    several = only.has_value();
    only = number;
  };
  if (!targets.l1s.empty()) {
    const std::uint32_t slot = targets.l1s.front().second;
    auto table = std::partition_point(l1s_by_slot_.begin(), l1s_by_slot_.end(),
                                      [&](const XenBlockPage& p) { return slot_of(p.pfn) < slot; });
    for (; table != l1s_by_slot_.end() && slot_of(table->pfn) == slot; ++table)
      consider(table->pfn);
  } else {
    const std::uint32_t slot = targets.upper.front();
    auto table = std::partition_point(tables_by_slot_.begin(), tables_by_slot_.end(),
                                      [&](std::uint32_t pfn) { return slot_of(pfn) < slot; });
    for (; table != tables_by_slot_.end() && slot_of(*table) == slot; ++table) consider(*table);
  }
  return several || effort_ > kMostEffort ? std::nullopt : only;
}

bool XenBlockSearch::fits(XenBlockId block, const Targets& targets, std::uint32_t number) {
  if (owners_.contains(number)) return false;
  const auto first = number * static_cast<std::uint32_t>(kXenSlots);
  for (const auto& [maps, slot] : targets.l1s) {
    if (++effort_ > kMostEffort) return false;
    const auto mapped = pages_.block_of_table(first + slot);
    if (!mapped) return false;
    const auto known = number_of(*mapped);
    const auto owner = block_at(maps);
    if (known ? *known != maps : owner.has_value()) return false;
    if (*mapped == block && maps != number) return false;
  }
  return std::all_of(targets.upper.begin(), targets.upper.end(),
                     [&](unsigned slot) { return is_upper_table(first + slot); });
}

/// True if it may be an L2 or L3 of the direct map: its entries lead to pages of the guest that are
/// tables, as far as they are known.
bool XenBlockSearch::is_upper_table(std::uint32_t pfn) {
  effort_ += kXenSlots;
  if (effort_ > kMostEffort || pages_.block_of_table(pfn)) return false;
  const Table table = read_table(pfn);
  return !table.entries.empty() &&
         std::all_of(table.entries.begin(), table.entries.end(), [&](Place place) {
           const auto page = page_at(place);
           return !page ||
                  std::binary_search(candidates_.tables.begin(), candidates_.tables.end(), *page);
         });
}

std::optional<Pfn> XenBlockSearch::direct_map_l1(std::uint32_t number) {
  const std::size_t gibibyte = number / kXenSlots;
  if (gibibyte >= l2s_.size() || l2s_[gibibyte].entries.empty()) return std::nullopt;
  const auto page = page_at(l2s_[gibibyte].entries[number % kXenSlots]);
  if (!page) return std::nullopt;
  return Pfn{*page};
}

std::uint64_t XenBlockSearch::lost_tables() const {
  std::uint64_t lost = 0;
  for (const L2& l2 : l2s_) {
    if (!l2.present) continue;
    if (l2.entries.empty()) lost += kXenSlots;
    for (std::size_t i = 0; i < l2.entries.size(); ++i)
      lost += l2.presents[i] && !page_at(l2.entries[i]) ? 1U : 0U;
  }
  return lost;
}

std::uint32_t XenBlockSearch::numbers() const {
  std::uint32_t end = owners_.empty() ? 0 : owners_.rbegin()->first + 1;
  for (std::uint32_t g = 0; g < l2s_.size(); ++g) {
    for (std::uint32_t i = 0; i < l2s_[g].entries.size(); ++i) {
      if (l2s_[g].entries[i] != kNowhere)
        end = std::max(end, g * static_cast<std::uint32_t>(kXenSlots) + i + 1);
    }
  }
  return end;
}

}  // namespace vmconvert
