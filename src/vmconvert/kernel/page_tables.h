#pragma once

#include <array>
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
  unsigned shift = 0;         ///< of a page: log2 of its size, which may be that of several entries
};

/// One level of a radix tree of tables.
struct PageTableLevel {
  unsigned shift =
      0;  ///< of the address bits that index this level; also log2 of what an entry covers
  unsigned bits = 0;  ///< log2 of the number of entries
};

/// How a processor reads its page tables.
struct PagingMode {
  std::string name;  ///< for people: "x86-64, 4 levels"
  std::endian order =
      std::endian::little;             ///< of entries; may differ from that of the guest's data
  unsigned entry_size = 8;             ///< bytes
  std::vector<PageTableLevel> levels;  ///< from the root down
  std::uint64_t address_mask = 0;      ///< bits of an entry that are an address
  /// Bits that, shifted left by `high_shift`, are more of the address.
  std::uint64_t high_mask = 0;
  unsigned high_shift = 0;
  unsigned largest_page = 0;  ///< log2 of the largest page
  /// An address is translated if these of its bits, the upper ones, are one of the two values.
  std::uint64_t fixed_bits = 0;
  std::array<std::uint64_t, 2> fixed_values{};
  /// gva - gpa where the processor needs no tables; then there are no levels.
  std::optional<std::uint64_t> linear;
  /// @param depth  0 at the root
  PageTableEntry (*decode)(const PagingMode& mode, std::uint64_t entry,
                           std::size_t depth) = nullptr;
};

/// Truth: Intel SDM volume 3, chapter 4.
PagingMode x86_64_paging(bool five_levels);
/// The same chapter: 32-bit and PAE paging. @param pae  CR4.PAE
PagingMode i386_paging(bool pae);
/// The half of the addresses that TTBR1_EL1 translates. Truth: Arm ARM (DDI 0487), D8.3, stage 1.
/// @param page_shift  12, 14 or 16
/// @param va_bits  36 to 52: 64 - TCR_EL1.T1SZ
/// @param wide  TCR_EL1.DS: addresses of 52 bits with pages of 4 or 16 KiB (FEAT_LPA2)
PagingMode aarch64_paging(unsigned page_shift, unsigned va_bits, bool wide);
/// Truth: RISC-V privileged architecture, chapters on Sv39, Sv48, Sv57 and Svnapot.
/// @param va_bits  39, 48 or 57
PagingMode riscv64_paging(unsigned va_bits);
/// Truth: z/Architecture Principles of Operation, chapter 3, "Dynamic Address Translation". The
/// lengths of tables are not looked at: Linux has none shorter than whole.
/// @param top_table  bits 60-61 of the ASCE: 3 region-first, 2 region-second, 1 region-third, 0
/// segment
PagingMode s390x_paging(unsigned top_table);
/// The kernel's quarter of the addresses under radix translation. Truth: Power ISA 3.0B, book III,
/// 5.7.10; sizes of the levels: Linux arch/powerpc/include/asm/book3s/64/radix-{4k,64k}.h.
/// @param page_shift  12 or 16
PagingMode ppc64_radix_paging(unsigned page_shift);
/// Addresses whose upper four bits are those of `offset` are mapped to the gpa `offset` below.
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
  std::endian guest_order() const { return image_->byte_order; }  ///< of the guest's data
  unsigned pointer_size() const { return image_->arch == Arch::i386 ? 4 : 8; }  ///< bytes

  /// Nothing if the address is not mapped, or a table lies outside of guest memory.
  std::optional<GuestPhysAddr> translate(GuestVirtAddr at) const;
  /// The mappings of [range), ascending, neighbours joined; at most `most` of them.
  std::vector<Mapping> mappings(VirtualRange range, std::size_t most) const;
  /// Reads through the tables. @returns false if a byte is not mapped or not in guest memory
  bool read(GuestVirtAddr at, std::span<std::byte> out) const;
  /// The guest's pointer at `at`.
  std::optional<std::uint64_t> read_pointer(GuestVirtAddr at) const;

 private:
  std::optional<std::uint64_t> entry(GuestPhysAddr table, std::uint64_t index) const;

  const GuestImage* image_;
  PagingMode mode_;
  GuestPhysAddr root_;
};

}  // namespace vmconvert
