#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "support/byte_writer.h"
#include "vmconvert/model/guest_image.h"

namespace vmconvert::test {

/// How a PV guest's kernel keeps its p2m.
enum class P2mKind { linear, tree, flat, frame_list, scattered };

struct XenGuestPlan {
  P2mKind p2m = P2mKind::linear;
  bool old_direct_map = false;  ///< from L4 slot 272 on, as before Linux 4.20
  std::uint64_t pages = 8 * 512;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ballooned{};  ///< [begin, end) of pfns
  std::vector<std::uint64_t> foreign{}, identity{};                  ///< pfns
  std::vector<std::pair<std::uint64_t, std::uint64_t>>
      same_frame{};  ///< the second has that of the first
  bool start_info = true;
  bool banner = true;
  bool seeds = true;  ///< L4s map themselves where their p2m says
};

/// Memory of a 64-bit PV guest with what its kernel and Xen leave there: page tables of two
/// processes with machine frames, and a p2m. Frames look random. Nothing but page tables, p2m and a
/// few pages of data is there; all else is missing from the image, as it would be zero.
class XenGuest {
 public:
  static constexpr std::uint64_t kL4 = 0x140, kUserL4 = 0x148, kOtherL4 = 0x960, kL3 = 0x141,
                                 kL2 = 0x142, kImageL3 = 0x143, kImageL2 = 0x144, kImageL1 = 0x145,
                                 kBanner = 0x123, kStartInfo = 0x180, kListL3 = 0x190,
                                 kListL2 = 0x191, kListL1 = 0x192, kTop = 0x194, kMid = 0x195,
                                 kFrameList = 0x196, kUserL3 = 0x1a0, kUserL2 = 0x1a1,
                                 kUserL1 = 0x1a2, kMissing = 0x1a8;

  explicit XenGuest(XenGuestPlan plan);

  std::uint64_t mfn(std::uint64_t pfn) const;
  /// Where the L1 of block `k` of the direct map lies, and the page of the p2m.
  static std::uint64_t l1(std::uint64_t k) { return 0x640 - k; }
  std::uint64_t leaf(std::uint64_t k) const;

  /// Words of a page; it is made if it is not there.
  std::array<std::uint64_t, 512>& page(std::uint64_t pfn) { return pages_[pfn]; }
  void copy_page(std::uint64_t from, std::uint64_t to) { pages_[to] = pages_.at(from); }
  void remove_page(std::uint64_t pfn) { pages_.erase(pfn); }
  /// Sets an entry of a page table that is translated.
  void entry(std::uint64_t table, std::size_t slot, std::uint64_t target,
             std::uint64_t flags = 0x67);

  /// The memory as the guest has it.
  GuestImage image() const { return image_of(pages_); }
  /// All of it in one piece.
  Bytes raw() const;
  /// What the page has to hold when page tables are translated.
  Bytes translated(std::uint64_t pfn) const;
  /// The memory with translated page tables.
  GuestImage translated_image() const;
  std::vector<std::uint64_t> pfns() const;
  std::size_t tables() const { return tables_.size(); }

 private:
  using Page = std::array<std::uint64_t, 512>;
  using Pages = std::map<std::uint64_t, Page>;
  static GuestImage image_of(const Pages& pages);
  bool is_ballooned(std::uint64_t pfn) const;
  void table(std::uint64_t pfn, unsigned level) {
    pages_[pfn] = {};
    tables_[pfn] = level;
  }
  void root(std::uint64_t pfn);
  void add_tables();
  void add_direct_map();
  void add_p2m();
  void add_order();
  void add_start_info();

  XenGuestPlan plan_;
  std::uint64_t blocks_;
  Pages pages_;
  std::map<std::uint64_t, unsigned> tables_;  ///< pfn -> level
};

}  // namespace vmconvert::test
