#include "vmconvert/model/xen_p2m_forms.h"

#include <algorithm>
#include <array>
#include <map>
#include <unordered_set>

#include "vmconvert/base/text.h"

namespace vmconvert {
namespace {

constexpr std::uint64_t kPage = 4096, kPageShift = 12;
constexpr std::size_t kXenEnd = 272, kImageSlot = 511;
constexpr unsigned kLevels = 4, kSlotBits = 9;
// Tables of kernel addresses that are looked through: those of some 100 GiB.
constexpr std::size_t kMostTables = 1 << 16;
constexpr std::size_t kFirst = 8;
constexpr std::size_t kMostVotes = 1 << 16;
constexpr auto kSlots32 = static_cast<std::uint32_t>(kXenSlots);
constexpr std::uint64_t kImageMap = 0xffffffff80000000, kNewDirectMap = 0xffff888000000000,
                        kOldDirectMap = 0xffff880000000000;

class Forms {
 public:
  Forms(const GuestImage& image, Pfn root, const XenCandidates& candidates,
        const XenP2mPages& pages, XenBlockSearch& blocks)
      : image_(image),
        root_(root),
        candidates_(candidates),
        pages_(pages),
        blocks_(blocks),
        numbers_(blocks.numbers()) {}

  std::vector<XenP2mForm> run() {
    std::vector<XenP2mForm> forms;
    const auto add = [&](std::optional<XenP2mForm> form) {
      if (form) forms.push_back(std::move(*form));
    };
    add(linear_list());
    add(tree());
    add(flat_table());
    add(frame_list());
    return forms;
  }

 private:
  using PageBytes = std::array<std::byte, kPage>;

  bool read(std::uint64_t pfn, PageBytes& out) const {
    return read_guest(image_, {pfn << kPageShift}, out);
  }

  /// The number of the block whose p2m page this is, if it is known.
  std::optional<std::uint32_t> number_of_page(std::uint64_t pfn) const {
    if (pfn >= kXenFramesEnd) return std::nullopt;
    const auto block = pages_.block_of_page(static_cast<std::uint32_t>(pfn));
    return block ? blocks_.number_of(*block) : std::nullopt;
  }

  /// Calls visit(page of kernel addresses, frame) for each mapping but those of the direct map, of
  /// the kernel's image and of what comes after it.
  template <class Visit>
  void walk_kernel(const Visit& visit) {
    visited_.clear();
    walk(root_.value, kLevels, 0, visit);
  }

  template <class Visit>
  void walk(std::uint64_t table, unsigned level, std::uint64_t address, const Visit& visit) {
    PageBytes bytes;
    if (visited_.size() >= kMostTables || !visited_.insert(table).second || !read(table, bytes))
      return;
    const XenWords words(bytes);
    for (std::size_t slot = level == kLevels ? kXenEnd : 0; slot < kXenSlots; ++slot) {
      if (level == kLevels && (slot == blocks_.direct_map_slot() || slot == kImageSlot)) continue;
      if (!is_xen_entry(words[slot])) continue;
      const auto page = blocks_.find({xen_entry_frame(words[slot])});
      if (!page) continue;
      const std::uint64_t next = address << kSlotBits | slot;
      if (level == 1) {
        visit(next, *page);
      } else {
        walk(page->value, level - 1, next, visit);
      }
    }
  }

  /// At least half of what is known of the p2m.
  bool is_enough(std::uint64_t votes) const { return votes != 0 && votes * 2 >= blocks_.known(); }

  std::optional<XenP2mForm> linear_list() {
    std::map<std::int64_t, std::uint64_t> votes;  // by where number 0 would be mapped
    walk_kernel([&](std::uint64_t at, Pfn page) {
      const auto number = number_of_page(page.value);
      if (number && votes.size() < kMostVotes)
        ++votes[static_cast<std::int64_t>(at) - static_cast<std::int64_t>(*number)];
    });
    const auto most = most_votes(votes);
    if (most == votes.end() || !is_enough(most->second) || most->first < 0) return std::nullopt;
    XenP2mForm form{.name = "", .pages = std::vector<std::uint32_t>(numbers_)};
    walk_kernel([&](std::uint64_t at, Pfn page) {
      const std::int64_t number = static_cast<std::int64_t>(at) - most->first;
      if (number >= 0 && number < static_cast<std::int64_t>(numbers_))
        form.pages[static_cast<std::size_t>(number)] = static_cast<std::uint32_t>(page.value);
    });
    const std::uint64_t address = static_cast<std::uint64_t>(most->first) << kPageShift;
    form.name = "linear list at " + hex(0xffff000000000000 | address);
    return form;
  }

  /// Upper pages of a tree, whose n-th word leads to the n-th page of each 512.
  template <class PageOf>
  std::optional<XenP2mForm> listed(const std::string& name,
                                   const std::vector<const std::vector<std::uint32_t>*>& lists,
                                   const PageOf& page_of) {
    struct List {
      std::uint64_t votes = 0;
      std::uint32_t pfn = 0;
    };
    std::map<std::uint32_t, List> best;  // by number / 512
    PageBytes bytes;
    for (const auto* pfns : lists) {
      for (const std::uint32_t pfn : *pfns) {
        if (!read(pfn, bytes)) continue;
        std::map<std::uint32_t, std::uint64_t> votes;
        // One whose first few words lead to no page of the p2m is none.
        for (std::size_t slot = 0; slot < kXenSlots && (slot < kFirst || !votes.empty()); ++slot) {
          const auto page = page_of(XenWords(bytes)[slot]);
          const auto number = page ? number_of_page(page->value) : std::nullopt;
          if (number && *number % kXenSlots == slot) ++votes[*number / kSlots32];
        }
        for (const auto& [gibibyte, count] : votes) {
          if (count > best[gibibyte].votes) best[gibibyte] = {count, pfn};
        }
      }
    }
    std::uint64_t votes = 0;
    XenP2mForm form{.name = name, .pages = std::vector<std::uint32_t>(numbers_)};
    for (const auto& [gibibyte, list] : best) {
      votes += list.votes;
      if (!read(list.pfn, bytes)) continue;
      for (std::size_t slot = 0; slot < kXenSlots; ++slot) {
        const std::size_t number = gibibyte * kXenSlots + slot;
        const auto page = page_of(XenWords(bytes)[slot]);
        if (number < form.pages.size() && page && page->value < kXenFramesEnd)
          form.pages[number] = static_cast<std::uint32_t>(page->value);
      }
    }
    if (!is_enough(votes)) return std::nullopt;
    return form;
  }

  std::optional<XenP2mForm> tree() {
    const std::uint64_t direct_map =
        blocks_.direct_map_slot() == kXenEnd ? kOldDirectMap : kNewDirectMap;
    return listed("tree of pointers", {&candidates_.pointer_lists},
                  [&](std::uint64_t word) -> std::optional<Pfn> {
                    const std::uint64_t base = word >= kImageMap ? kImageMap : direct_map;
                    if (word < base) return std::nullopt;
                    return Pfn{(word - base) >> kPageShift};
                  });
  }

  std::optional<XenP2mForm> frame_list() {
    return listed("frame list of the toolstack",
                  {&candidates_.frame_lists, &candidates_.repeated_lists},
                  [&](std::uint64_t word) -> std::optional<Pfn> {
                    if (xen_p2m_entry(word) != XenP2mEntry::frame) return std::nullopt;
                    return blocks_.find({word});
                  });
  }

  std::optional<XenP2mForm> flat_table() {
    std::map<std::int64_t, std::uint64_t> votes;  // by where number 0 would be
    for (const XenBlockPage& page : pages_.pages()) {
      if (const auto number = blocks_.number_of(page.block); number && votes.size() < kMostVotes)
        ++votes[static_cast<std::int64_t>(page.pfn) - static_cast<std::int64_t>(*number)];
    }
    const auto most = most_votes(votes);
    if (most == votes.end() || !is_enough(most->second) || most->first < 0) return std::nullopt;
    XenP2mForm form{.name = "flat table", .pages = std::vector<std::uint32_t>(numbers_)};
    PageBytes bytes;
    for (std::uint32_t number = 0; number < numbers_; ++number) {
      const std::uint64_t page = static_cast<std::uint64_t>(most->first) + number;
      // What comes behind the table is something else.
      if (page < kXenFramesEnd && read(page, bytes) &&
          xen_frame_list(XenWords(bytes)) == XenFrameList::distinct)
        form.pages[number] = static_cast<std::uint32_t>(page);
    }
    return form;
  }

  static std::map<std::int64_t, std::uint64_t>::const_iterator most_votes(
      const std::map<std::int64_t, std::uint64_t>& votes) {
    return std::max_element(votes.begin(), votes.end(),
                            [](const auto& a, const auto& b) { return a.second < b.second; });
  }

  const GuestImage& image_;
  Pfn root_;
  const XenCandidates& candidates_;
  const XenP2mPages& pages_;
  XenBlockSearch& blocks_;
  std::uint32_t numbers_;
  std::unordered_set<std::uint64_t> visited_;
};

}  // namespace

std::vector<XenP2mForm> find_p2m_forms(const GuestImage& image, Pfn root,
                                       const XenCandidates& candidates, const XenP2mPages& pages,
                                       XenBlockSearch& blocks) {
  return Forms(image, root, candidates, pages, blocks).run();
}

}  // namespace vmconvert
