#include "vmconvert/model/xen_search.h"

#include <algorithm>
#include <array>
#include <optional>

#include "vmconvert/model/xen_banner.h"
#include "vmconvert/model/xen_block_search.h"
#include "vmconvert/model/xen_p2m_forms.h"
#include "vmconvert/model/xen_p2m_pages.h"
#include "vmconvert/model/xen_page_scan.h"

namespace vmconvert {
namespace {

constexpr std::uint64_t kPage = 4096, kPageShift = 12;
constexpr std::uint64_t kWritable = 2;
// A guest that ran while it was captured moved a few pages meanwhile.
constexpr std::uint64_t kMostDifferingPercent = 1;
// Roots of which one has to lead to the kernel.
constexpr std::size_t kMostTried = 64;

/// Where the machine frames of 512 pages stand; 0: nowhere.
struct BlockPlaces {
  std::uint32_t list = 0;        // a page of the p2m
  std::uint32_t l1 = 0;          // of the direct map
  std::uint32_t other_list = 0;  // what looks like a page of the p2m, if the former is none
};

class Search {
 public:
  explicit Search(const GuestImage& image) : image_(image) {}

  FoundXenP2m run() {
    const XenCandidates candidates = find_xen_candidates(image_);
    if (candidates.too_many)
      return refuse("more pages look like page tables or its p2m than a guest can have");
    if (!place_blocks(candidates)) return std::move(result_);
    read_frames();
    if (result_.differing * 100 > result_.agreeing * kMostDifferingPercent) {
      return refuse("its p2m and its page tables differ in " + std::to_string(result_.differing) +
                    " of " + std::to_string(result_.agreeing + result_.differing) + " frames");
    }
    choose_roots(candidates);
    if (result_.roots.empty()) return refuse("no kernel is reached through its page tables");
    return std::move(result_);
  }

 private:
  using Bytes = std::array<std::byte, kPage>;

  FoundXenP2m refuse(std::string why) {
    FoundXenP2m refused;
    refused.refusal = std::move(why);
    return refused;
  }
  bool read(std::uint64_t pfn, Bytes& out) const {
    return read_guest(image_, {pfn << kPageShift}, out);
  }

  /// Finds the pages of the p2m. What that needs is gone when the frames are collected.
  bool place_blocks(const XenCandidates& candidates) {
    XenP2mPages pages(image_, candidates);
    if (pages.blocks() == 0) {
      result_ = refuse("it has no p2m with the frames by which its kernel maps memory");
      return false;
    }
    XenBlockSearch blocks(image_, candidates, pages);
    result_.lost_tables = blocks.lost_tables();
    places_.resize(blocks.numbers());
    std::uint64_t mapped = 0;
    for (std::uint32_t number = 0; number < places_.size(); ++number) {
      const auto l1 = blocks.direct_map_l1(number);
      if (l1) places_[number].l1 = static_cast<std::uint32_t>(l1->value);
      mapped += l1 ? 1U : 0U;
      if (const auto block = blocks.block_at(number))
        places_[number].other_list = pages.page_of(*block);
    }
    if (mapped == 0) {
      result_ = refuse("which of its pages the pages of its p2m are about cannot be told");
      return false;
    }
    if (result_.lost_tables * 100 > mapped) {
      result_ = refuse(std::to_string(result_.lost_tables) + " of " +
                       std::to_string(result_.lost_tables + mapped) +
                       " page tables that map all of its memory cannot be found");
      return false;
    }
    const auto root =
        std::find_if(candidates.seeds.begin(), candidates.seeds.end(), [&](const XenSeed& seed) {
          return seed.l4 && blocks.find({seed.mfn}) == Pfn{seed.pfn} && maps_memory(seed, blocks);
        });
    if (root != candidates.seeds.end()) {
      const auto forms = find_p2m_forms(image_, {root->pfn}, candidates, pages, blocks);
      for (std::uint32_t number = 0; !forms.empty() && number < places_.size(); ++number)
        places_[number].list = forms.front().pages[number];
      for (const XenP2mForm& form : forms)
        result_.form += (result_.form.empty() ? "" : ", ") + form.name;
    }
    if (result_.form.empty()) result_.form = "pages in the order of the direct map";
    return true;
  }

  /// An L4 of the kernel, not one of user mode.
  bool maps_memory(const XenSeed& seed, const XenBlockSearch& blocks) const {
    Bytes bytes;
    return read(seed.pfn, bytes) && is_xen_entry(XenWords(bytes)[blocks.direct_map_slot()]);
  }

  void read_frames() {
    auto m2p = std::make_shared<XenM2p>();
    m2p->reserve(places_.size() * kXenSlots);
    for (std::uint32_t number = 0; number < places_.size(); ++number)
      add_block(number, places_[number], *m2p);
    m2p->finish();
    result_.frames = m2p->size();
    result_.m2p = std::move(m2p);
  }

  /// True if it is a page of a p2m, even if of a block with few pages.
  bool read_list(std::uint32_t pfn, Bytes& out) const {
    if (pfn == 0 || !read(pfn, out)) return false;
    const XenWords words(out);
    for (std::size_t slot = 0; slot < kXenSlots; ++slot) {
      if (xen_p2m_entry(words[slot]) == XenP2mEntry::other) return false;
    }
    return true;
  }

  void add_block(std::uint32_t number, const BlockPlaces& places, XenM2p& m2p) {
    Bytes list, l1;
    const bool has_list = read_list(places.list, list) || read_list(places.other_list, list);
    const bool has_l1 = places.l1 != 0 && read(places.l1, l1);
    result_.blocks += has_list ? 1U : 0U;
    result_.mapped_blocks += !has_list && has_l1 ? 1U : 0U;
    for (std::size_t slot = 0; slot < kXenSlots; ++slot) {
      const std::uint64_t mapping = has_l1 ? XenWords(l1)[slot] : 0;
      const bool mapped = is_xen_entry(mapping);
      std::uint64_t frame = mapped ? xen_entry_frame(mapping) : 0;
      if (has_list) {
        const std::uint64_t entry = XenWords(list)[slot];
        const XenP2mEntry kind = xen_p2m_entry(entry);
        const bool ours = kind == XenP2mEntry::frame;
        result_.identity += kind == XenP2mEntry::identity ? 1U : 0U;
        result_.foreign += kind == XenP2mEntry::foreign ? 1U : 0U;
        if (mapped && ours) ++(entry == frame ? result_.agreeing : result_.differing);
        if (mapped && kind == XenP2mEntry::none) ++result_.differing;
        frame = ours ? entry : 0;
      }
      if (frame != 0) m2p.add({std::uint64_t{number} * kXenSlots + slot}, {frame});
    }
  }

  /// True if the direct map lets nobody write to the page: so are page tables in use mapped.
  bool is_read_only(std::uint32_t pfn) const {
    const std::size_t number = pfn / kXenSlots;
    Bytes l1;
    if (number >= places_.size() || places_[number].l1 == 0 || !read(places_[number].l1, l1))
      return false;
    const std::uint64_t mapping = XenWords(l1)[pfn % kXenSlots];
    return is_xen_entry(mapping) && (mapping & kWritable) == 0;
  }

  /// Those L4s in use of which all is as it must be; none if not one leads to the kernel.
  void choose_roots(const XenCandidates& candidates) {
    XenM2p::Lookup lookup(*result_.m2p);
    bool has_linux = false;
    std::size_t tried = 0;
    for (const XenSeed& seed : candidates.seeds) {
      const auto page = lookup.find({seed.mfn});
      if (page != Pfn{seed.pfn}) {
        result_.copies += seed.l4 && page ? 1U : 0U;
        continue;
      }
      ++result_.seeds;
      if (!seed.l4 || !is_read_only(seed.pfn)) continue;
      if (!has_linux && tried < kMostTried) {
        ++tried;
        has_linux = maps_linux(image_, {seed.pfn},
                               [&](std::uint64_t frame) { return lookup.find({frame}); });
        if (has_linux) {
          result_.roots.insert(result_.roots.begin(), {seed.pfn});
          continue;
        }
      }
      result_.roots.push_back({seed.pfn});
    }
    if (!has_linux) result_.roots.clear();
  }

  const GuestImage& image_;
  std::vector<BlockPlaces> places_;  ///< by number: pages number * 512 to number * 512 + 511
  FoundXenP2m result_;
};

}  // namespace

FoundXenP2m find_xen_p2m(const GuestImage& image) { return Search(image).run(); }

}  // namespace vmconvert
