#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "vmconvert/base/packed.h"
#include "vmconvert/io/byte_source.h"
#include "vmconvert/model/guest_image.h"

namespace vmconvert::elf {

/// Bytes that are made when they are read: a p2m as Xen asks it of a guest, a tree of pages of
/// 64-bit frame numbers. Its root lists lists, which list the leaves, whose n-th word is the frame
/// of pfn n; the words of pfns that there are not are all ones. Lists end with 0.
class XenP2mTree final : public ByteSource {
 public:
  /// @param stretches  by pfn, disjoint; none reaches kPfnsEnd
  /// @param first      frame of its own first page, which is the root; not 0
  XenP2mTree(std::vector<FrameStretch> stretches, std::uint64_t first);

  /// The tree has room for pfns below this: 512 GiB of memory.
  static constexpr std::uint64_t kPfnsEnd = std::uint64_t{512} * 512 * 512;

  const std::string& name() const override { return name_; }
  std::uint64_t size() const override;
  void read_at(FileOffset at, std::span<std::byte> out) const override;

 private:
  using Page = std::array<le64, 512>;

  std::uint64_t lists() const;
  std::uint64_t leaf_of(std::uint64_t block) const;
  void make_page(std::uint64_t number, Page& page) const;
  void make_leaf(std::uint64_t block, Page& page) const;

  std::string name_ = "p2m of the vmcore";
  std::vector<FrameStretch> stretches_;
  std::vector<std::uint32_t> blocks_;  ///< of 512 pfns, those in which there are any, ascending
  std::uint64_t first_, blocks_end_ = 0;
};

/// What crash needs to open the vmcore of a PV guest, in which it sees one of Xen's: a p2m, which
/// holds for the frames that the vmcore's page tables and p_paddr have.
struct XenView {
  std::shared_ptr<const XenP2mTree> p2m;
  GuestRange place;  ///< its p_paddr, behind all memory; the root comes first
};

/// Nothing for a guest that needs none, and where it cannot be told: of 32-bit guests, of guests
/// with more memory than such a tree has room for.
std::optional<XenView> xen_view_of(const GuestImage& image);

}  // namespace vmconvert::elf
