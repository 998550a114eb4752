#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "vmconvert/model/guest_image.h"
#include "vmconvert/model/xen_p2m_pages.h"

namespace vmconvert {

/// Finds out which pages of the guest each block is of: block `b` holds the machine frames of the
/// 512 pages from number_of(b) * 512 on. What is known of a few pages, by the self maps of L4s, is
/// followed along the tables with which the kernel maps all of memory, whose order is known.
class XenBlockSearch {
 public:
  /// All must outlive this. @throws Error(io) as the sources do
  XenBlockSearch(const GuestImage& image, const XenCandidates& candidates, XenP2mPages& pages);

  std::optional<std::uint32_t> number_of(XenBlockId block) const;
  std::optional<XenBlockId> block_at(std::uint32_t number) const;
  /// Blocks that have a number.
  std::uint64_t known() const { return owners_.size(); }
  /// The page that a machine frame is.
  std::optional<Pfn> find(Mfn mfn);
  /// Slot of L4s that maps all of memory: 273, or 272 before Linux 4.20; 0 if none was found.
  std::size_t direct_map_slot() const { return direct_map_slot_; }
  /// The L1 that maps pages number * 512 to number * 512 + 511.
  std::optional<Pfn> direct_map_l1(std::uint32_t number);
  /// Entries of the direct map's upper tables that lead to tables nobody could find; of one that
  /// leads to an L2, all 512 that this may have.
  std::uint64_t lost_tables() const;
  /// One past the highest number that the direct map has an L1 for, or that a block has.
  std::uint32_t numbers() const;

 private:
  // An entry of a table of the direct map as block << 9 | slot, if its frame is in a block.
  using Place = std::uint32_t;
  static constexpr Place kNowhere = 0xffffffff;
  struct L2 {
    bool present = false;
    Place at = kNowhere;
    std::vector<bool> presents;
    std::vector<Place> entries;  // empty until its page is known
  };
  struct Table {
    std::vector<bool> presents;
    std::vector<Place> entries;  // empty if it is none of the direct map
  };
  /// What is known of where tables of a block lie.
  struct Targets {
    std::vector<std::pair<std::uint32_t, unsigned>> l1s;  // number that it maps, slot
    std::vector<unsigned> upper;                          // slots of L2s or of the L3
  };

  void find_direct_map();
  void vote();
  bool assign(XenBlockId block, std::uint32_t number);
  std::optional<std::uint32_t> page_at(Place place) const;
  Table read_table(std::uint32_t pfn);
  bool read_upper_tables();
  bool follow_l2(std::uint32_t gibibyte);
  bool narrow();
  std::map<XenBlockId, Targets> open_targets() const;
  std::optional<std::uint32_t> only_number(XenBlockId block, const Targets& targets);
  bool fits(XenBlockId block, const Targets& targets, std::uint32_t number);
  bool is_upper_table(std::uint32_t pfn);
  template <class Visit>
  void for_each_table_at(XenBlockId block, unsigned slot, const Visit& visit) const;

  const GuestImage& image_;
  const XenCandidates& candidates_;
  XenP2mPages& pages_;
  std::vector<std::uint32_t> numbers_;  ///< by block
  std::map<std::uint32_t, XenBlockId> owners_;
  std::vector<XenBlockPage> tables_by_block_;  ///< L1s
  std::vector<std::uint32_t> tables_by_slot_;  ///< of all tables: by pfn % 512, then pfn
  std::vector<XenBlockPage> l1s_by_slot_;
  std::size_t direct_map_slot_ = 0;
  Place l3_at_ = kNowhere;
  std::vector<L2> l2s_;  ///< by GiB; empty until the L3's page is known
  std::uint64_t effort_ = 0;
};

}  // namespace vmconvert
