#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "vmconvert/model/guest_image.h"
#include "vmconvert/model/xen_m2p.h"
#include "vmconvert/model/xen_page_scan.h"

namespace vmconvert {

/// Which of 512 consecutive pages of the guest an unknown block of a p2m is of: a number below
/// XenP2mPages::blocks(), in no order.
using XenBlockId = std::uint32_t;

/// A page of guest memory that belongs to a block: one of the p2m, or an L1 that maps the block.
struct XenBlockPage {
  std::uint32_t pfn = 0;
  XenBlockId block = 0;
};

/// A machine frame within a block.
struct XenBlockSlot {
  XenBlockId block = 0;
  unsigned slot = 0;
};

/// Pages of a p2m, told from all that look alike by this: the kernel maps all of memory in one
/// piece, so that there is an L1 with the same 512 frames for each of them.
class XenP2mPages {
 public:
  /// Reads the candidates. @throws Error(io) as the sources do
  XenP2mPages(const GuestImage& image, const XenCandidates& candidates);

  std::uint32_t blocks() const { return blocks_; }
  /// Which block a machine frame is in, and where.
  std::optional<XenBlockSlot> find(Mfn mfn);
  /// A page of the p2m of this block.
  std::uint32_t page_of(XenBlockId block) const { return chosen_.at(block); }
  /// What look like pages of the p2m, by pfn: of a block there may be stale ones, too.
  std::span<const XenBlockPage> pages() const { return pages_; }
  /// L1s, by pfn.
  std::span<const XenBlockPage> tables() const { return tables_; }
  std::optional<XenBlockId> block_of_page(std::uint32_t pfn) const;
  std::optional<XenBlockId> block_of_table(std::uint32_t pfn) const;

 private:
  struct Sample {
    std::uint32_t mfn = 0, place = 0;  // slot in the lower 9 bits, index of the candidate above
    std::uint64_t key() const { return std::uint64_t{mfn} << 9 | (place & 511); }
    std::uint32_t candidate() const { return place >> 9; }
  };

  void sample(const GuestImage& image, const std::vector<std::uint32_t>& lists);
  void pair(const GuestImage& image, const std::vector<std::uint32_t>& lists,
            const std::vector<std::uint32_t>& tables);
  void number_blocks(const std::vector<std::uint32_t>& lists);
  void index(const GuestImage& image);

  std::vector<Sample> samples_;
  std::vector<XenBlockPage> pages_, tables_;
  std::vector<std::uint32_t> chosen_;
  std::uint32_t blocks_ = 0;
  // Its "pfns" are block << 9 | slot.
  XenM2p frames_;
  std::optional<XenM2p::Lookup> lookup_;
};

}  // namespace vmconvert
