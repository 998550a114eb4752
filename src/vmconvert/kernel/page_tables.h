#pragma once

#include <bit>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "vmconvert/base/address.h"
#include "vmconvert/model/guest_image.h"

namespace vmconvert {

/// What an entry of a page table leads to.
struct PageTableEntry {
  enum class Kind { absent, table, page };
  Kind kind = Kind::absent;
  std::uint64_t address = 0;  ///< gpa of the next table or of the page
};

/// One level of a radix tree of tables.
struct PageTableLevel {
  unsigned shift = 0;  ///< of the address bits that index this level; also log2 of what an entry covers
  unsigned bits = 0;   ///< log2 of the number of entries
};

/// How a processor reads its page tables.
struct PagingMode {
  std::string name;  ///< for people: "x86-64, 4 levels"
  std::endian order = std::endian::little;
  std::vector<PageTableLevel> levels;  ///< from the root down
  std::uint64_t address_mask = 0;      ///< bits of an entry that are an address
  /// gva - gpa where the processor needs no tables; then there are no levels.
  std::optional<std::uint64_t> linear;
  /// @param depth  0 at the root
  PageTableEntry (*decode)(const PagingMode& mode, std::uint64_t entry, std::size_t depth) = nullptr;
};

/// Truth: Intel SDM volume 3, chapter 4.
PagingMode x86_64_paging(bool five_levels);
/// Truth: Arm ARM (DDI 0487), D8.3, stage 1, without FEAT_LPA2.
/// @param page_shift  12, 14 or 16
/// @param va_bits  36 to 52: 64 - TCR_EL1.T1SZ
PagingMode aarch64_paging(unsigned page_shift, unsigned va_bits);
/// Truth: RISC-V privileged architecture, chapter on Sv39, Sv48, Sv57.
/// @param va_bits  39, 48 or 57
PagingMode riscv64_paging(unsigned va_bits);
/// Truth: z/Architecture Principles of Operation, chapter 3, "Dynamic Address Translation".
/// @param top_table  bits 60-61 of the ASCE: 3 region-first, 2 region-second, 1 region-third, 0 segment
PagingMode s390x_paging(unsigned top_table);
/// Every address is mapped, to the gpa that lies `offset` below it.
PagingMode linear_mapping(std::uint64_t offset);

/// A virtually contiguous range that is physically contiguous, too.
struct Mapping {
  VirtualRange guest_virtual;
  GuestPhysAddr guest_physical;
};

/// The tables of one address space in guest memory.
class PageTables {
 public:
  /// The image must outlive this.
  PageTables(const GuestImage& image, PagingMode mode, GuestPhysAddr root)
      : image_(&image), mode_(std::move(mode)), root_(root) {}

  const PagingMode& mode() const { return mode_; }
  GuestPhysAddr root() const { return root_; }

  /// Nothing if the address is not mapped, or a table lies outside of guest memory.
  std::optional<GuestPhysAddr> translate(GuestVirtAddr at) const;
  /// The mappings of [range), ascending, neighbours joined; at most `most` of them.
  std::vector<Mapping> mappings(VirtualRange range, std::size_t most) const;
  /// Reads through the tables. @returns false if a byte is not mapped or not in guest memory
  bool read(GuestVirtAddr at, std::span<std::byte> out) const;
  /// The integer at `at`, in the guest's byte order.
  std::optional<std::uint64_t> read_u64(GuestVirtAddr at) const;

 private:
  std::optional<std::uint64_t> entry(GuestPhysAddr table, std::uint64_t index) const;

  const GuestImage* image_;
  PagingMode mode_;
  GuestPhysAddr root_;
};

}  // namespace vmconvert
