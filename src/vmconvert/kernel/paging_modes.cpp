#include <algorithm>

#include "vmconvert/base/text.h"
#include "vmconvert/kernel/page_tables.h"

namespace vmconvert {
namespace {

using Kind = PageTableEntry::Kind;

constexpr std::uint64_t low_bits(unsigned n) {
  return n >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << n) - 1;
}

std::uint64_t frame(const PagingMode& mode, std::uint64_t entry) {
  return (entry & mode.address_mask) | ((entry & mode.high_mask) << mode.high_shift);
}

bool is_last(const PagingMode& mode, std::size_t depth) { return depth + 1 == mode.levels.size(); }

/// A page as large as what an entry of this level covers.
PageTableEntry page(const PagingMode& mode, std::uint64_t address, std::size_t depth) {
  const unsigned shift = mode.levels[depth].shift;
  if (shift > mode.largest_page) return {};  // the processor would fault on it
  return {Kind::page, address & ~low_bits(shift), shift};
}

PageTableEntry decode_x86(const PagingMode& mode, std::uint64_t entry, std::size_t depth) {
  constexpr std::uint64_t kPresent = 1, kPageSize = 0x80;
  if ((entry & kPresent) == 0) return {};
  const bool may_be_large = mode.levels[depth].shift <= mode.largest_page;
  if (is_last(mode, depth) || (may_be_large && (entry & kPageSize) != 0))
    return page(mode, frame(mode, entry), depth);
  return {Kind::table, frame(mode, entry)};
}

/// Pages of 4 MiB may lie above 4 GiB (PSE-36).
PageTableEntry decode_x86_32_bit(const PagingMode& mode, std::uint64_t entry, std::size_t depth) {
  PageTableEntry decoded = decode_x86(mode, entry, depth);
  if (decoded.kind == Kind::page && !is_last(mode, depth))
    decoded.address |= (entry & 0x1fe000) << 19;
  return decoded;
}

PageTableEntry decode_aarch64(const PagingMode& mode, std::uint64_t entry, std::size_t depth) {
  const std::uint64_t type = entry & 3, address = frame(mode, entry);
  if (is_last(mode, depth)) return type == 3 ? page(mode, address, depth) : PageTableEntry{};
  if (type == 3) return {Kind::table, address};
  return type == 1 ? page(mode, address, depth) : PageTableEntry{};
}

PageTableEntry decode_riscv64(const PagingMode& mode, std::uint64_t entry, std::size_t depth) {
  constexpr std::uint64_t kValid = 1, kReadable = 2, kWritable = 4, kReadWriteExecute = 0xe;
  constexpr std::uint64_t kNapot = std::uint64_t{1} << 63;  // one of 16 entries for 64 KiB
  if ((entry & kValid) == 0 || (entry & (kReadable | kWritable)) == kWritable) return {};
  const std::uint64_t address = (entry & mode.address_mask) << 2;  // the frame number is at bit 10
  if ((entry & kReadWriteExecute) == 0)
    return is_last(mode, depth) ? PageTableEntry{} : PageTableEntry{Kind::table, address};
  if ((entry & kNapot) != 0) {
    const bool is_64_kib = is_last(mode, depth) && (address >> 12 & 0xf) == 8;
    return is_64_kib ? PageTableEntry{Kind::page, address & ~low_bits(16), 16} : PageTableEntry{};
  }
  // A large page that is not on its own border is a fault.
  if ((address & low_bits(mode.levels[depth].shift)) != 0) return {};
  return page(mode, address, depth);
}

PageTableEntry decode_s390x(const PagingMode& mode, std::uint64_t entry, std::size_t depth) {
  constexpr std::uint64_t kInvalid = 0x20, kPageInvalid = 0x400, kLarge = 0x400;
  const std::size_t above_page = mode.levels.size() - 1 - depth;  // 0: page table, 1: segment table
  if (above_page == 0)
    return (entry & kPageInvalid) != 0 ? PageTableEntry{} : page(mode, entry, depth);
  const std::uint64_t table_type = (entry >> 2) & 3;
  if ((entry & kInvalid) != 0 || table_type != above_page - 1) return {};
  if (above_page <= 2 && (entry & kLarge) != 0) return page(mode, entry, depth);
  // A segment entry leads to a page table of 2 KiB, the others to tables of 4 KiB and more.
  return {Kind::table, entry & ~low_bits(above_page == 1 ? 11 : 12)};
}

PageTableEntry decode_ppc64_radix(const PagingMode& mode, std::uint64_t entry, std::size_t depth) {
  constexpr std::uint64_t kValid = std::uint64_t{1} << 63, kLeaf = std::uint64_t{1} << 62;
  constexpr std::uint64_t kNextTable = 0x0fffffffffffff00, kNextBits = 0x1f;
  if ((entry & kValid) == 0) return {};
  if ((entry & kLeaf) != 0) return page(mode, frame(mode, entry), depth);
  if (is_last(mode, depth) || (entry & kNextBits) != mode.levels[depth + 1].bits) return {};
  return {Kind::table, entry & kNextTable};
}

/// Addresses whose upper bits repeat the highest of `va_bits`.
void sign_extend(PagingMode& mode, unsigned va_bits) {
  mode.fixed_bits = ~low_bits(va_bits - 1);
  mode.fixed_values = {0, mode.fixed_bits};
}

}  // namespace

PagingMode x86_64_paging(bool five_levels) {
  PagingMode mode{.name = five_levels ? "x86-64, 5 levels" : "x86-64, 4 levels",
                  .levels = {{39, 9}, {30, 9}, {21, 9}, {12, 9}},
                  .address_mask = 0x000ffffffffff000,
                  .largest_page = 30,
                  .decode = decode_x86};
  if (five_levels) mode.levels.insert(mode.levels.begin(), {48, 9});
  sign_extend(mode, five_levels ? 57 : 48);
  return mode;
}

PagingMode i386_paging(bool pae) {
  PagingMode mode{.name = pae ? "i386, PAE" : "i386, 2 levels",
                  .entry_size = pae ? 8U : 4U,
                  .levels = {{22, 10}, {12, 10}},
                  .address_mask = pae ? 0x000ffffffffff000U : 0xfffff000U,
                  .largest_page = pae ? 21U : 22U,
                  .fixed_bits = ~low_bits(32),
                  .decode = pae ? decode_x86 : decode_x86_32_bit};
  if (pae) mode.levels = {{30, 2}, {21, 9}, {12, 9}};
  return mode;
}

PagingMode aarch64_paging(unsigned page_shift, unsigned va_bits, bool wide) {
  PagingMode mode{.name = "aarch64, " + std::to_string(std::uint64_t{1} << (page_shift - 10)) +
                          " KiB pages, " + std::to_string(va_bits) + " bits",
                  .address_mask = low_bits(48) & ~low_bits(page_shift),
                  .fixed_bits = ~low_bits(va_bits),
                  .fixed_values = {~low_bits(va_bits), ~low_bits(va_bits)},
                  .decode = decode_aarch64};
  if (page_shift == 16) {  // zero unless the processor has FEAT_LPA
    mode.high_mask = 0xf000;
    mode.high_shift = 36;
  } else if (wide) {
    mode.address_mask = low_bits(50) & ~low_bits(page_shift);
    mode.high_mask = 0x300;
    mode.high_shift = 42;
  }
  const unsigned bits = page_shift - 3;
  mode.largest_page = page_shift + bits * (page_shift == 12 ? 2 : 1);
  if (wide || (page_shift == 16 && va_bits > 48)) mode.largest_page += bits;
  for (unsigned shift = page_shift; shift < va_bits; shift += bits) {
    mode.levels.insert(mode.levels.begin(), {shift, std::min(bits, va_bits - shift)});
  }
  return mode;
}

PagingMode riscv64_paging(unsigned va_bits) {
  PagingMode mode{.name = "riscv64, Sv" + std::to_string(va_bits),
                  .address_mask = low_bits(54) & ~low_bits(10),
                  .largest_page = va_bits - 9,
                  .decode = decode_riscv64};
  for (unsigned shift = 12; shift < va_bits; shift += 9)
    mode.levels.insert(mode.levels.begin(), {shift, 9});
  sign_extend(mode, va_bits);
  return mode;
}

PagingMode s390x_paging(unsigned top_table) {
  PagingMode mode{.name = "s390x, " + std::to_string(top_table + 2) + " levels",
                  .order = std::endian::big,
                  .levels = {{20, 11}, {12, 8}},
                  .address_mask = ~low_bits(12),
                  .largest_page = 31,
                  .fixed_bits = ~low_bits(31 + 11 * top_table),
                  .decode = decode_s390x};
  for (unsigned level = 0; level < top_table; ++level)
    mode.levels.insert(mode.levels.begin(), {31 + 11 * level, 11});
  return mode;
}

PagingMode ppc64_radix_paging(unsigned page_shift) {
  constexpr std::uint64_t kQuarter = 0xc000000000000000;
  return {.name = "ppc64, radix, " + std::to_string(std::uint64_t{1} << (page_shift - 10)) +
                  " KiB pages",
          .order = std::endian::big,
          .levels = {{39, 13}, {30, 9}, {21, 9}, {page_shift, 21 - page_shift}},
          .address_mask = 0x01fffffffffff000,
          .largest_page = 30,
          .fixed_bits = ~low_bits(52),
          .fixed_values = {kQuarter, kQuarter},
          .decode = decode_ppc64_radix};
}

PagingMode linear_mapping(std::uint64_t offset) {
  constexpr std::uint64_t kRegion = 0xf000000000000000;
  return {.name = "linear mapping at " + hex(offset),
          .fixed_bits = kRegion,
          .fixed_values = {offset & kRegion, offset & kRegion},
          .linear = offset};
}

}  // namespace vmconvert
