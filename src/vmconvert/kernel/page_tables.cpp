#include "vmconvert/kernel/page_tables.h"

#include <algorithm>
#include <array>

#include "vmconvert/base/packed.h"
#include "vmconvert/base/text.h"

namespace vmconvert {
namespace {

constexpr std::size_t kEntrySize = 8;
// Tables a walk over a range may read: those of 64 GiB mapped by single pages. Hostile tables may
// refer to each other, so that following all of them would never end.
constexpr std::size_t kMostTables = 32768;

constexpr unsigned kLinearShift = 12;  // pieces in which a linear mapping is read

using Kind = PageTableEntry::Kind;

std::uint64_t low_bits(unsigned n) { return (std::uint64_t{1} << n) - 1; }

PageTableEntry page(const PagingMode& mode, std::uint64_t entry, std::size_t depth) {
  return {Kind::page, entry & mode.address_mask & ~low_bits(mode.levels[depth].shift)};
}

PageTableEntry decode_x86_64(const PagingMode& mode, std::uint64_t entry, std::size_t depth) {
  constexpr std::uint64_t kPresent = 1, kPageSize = 0x80;
  if ((entry & kPresent) == 0) return {};
  const bool may_be_large = depth + 3 >= mode.levels.size();  // 1 GiB and 2 MiB pages
  if (depth + 1 == mode.levels.size() || (may_be_large && (entry & kPageSize) != 0))
    return page(mode, entry, depth);
  return {Kind::table, entry & mode.address_mask};
}

PageTableEntry decode_aarch64(const PagingMode& mode, std::uint64_t entry, std::size_t depth) {
  const std::uint64_t type = entry & 3;
  if (depth + 1 == mode.levels.size()) return type == 3 ? page(mode, entry, depth) : PageTableEntry{};
  if (type == 3) return {Kind::table, entry & mode.address_mask};
  return type == 1 ? page(mode, entry, depth) : PageTableEntry{};
}

PageTableEntry decode_riscv64(const PagingMode& mode, std::uint64_t entry, std::size_t depth) {
  constexpr std::uint64_t kValid = 1, kReadWriteExecute = 0xe;
  if ((entry & kValid) == 0) return {};
  const std::uint64_t address = (entry & mode.address_mask) << 2;  // the frame number is at bit 10
  if ((entry & kReadWriteExecute) != 0)
    return {Kind::page, address & ~low_bits(mode.levels[depth].shift)};
  return depth + 1 == mode.levels.size() ? PageTableEntry{} : PageTableEntry{Kind::table, address};
}

PageTableEntry decode_s390x(const PagingMode& mode, std::uint64_t entry, std::size_t depth) {
  constexpr std::uint64_t kInvalid = 0x20, kPageInvalid = 0x400, kLarge = 0x400;
  const std::size_t above_page = mode.levels.size() - 1 - depth;  // 0: page table, 1: segment table
  if (above_page == 0)
    return (entry & kPageInvalid) != 0 ? PageTableEntry{} : page(mode, entry, depth);
  if ((entry & kInvalid) != 0) return {};
  if (above_page <= 2 && (entry & kLarge) != 0) return page(mode, entry, depth);
  // A segment entry leads to a page table of 2 KiB, the others to tables of 4 KiB and more.
  return {Kind::table, entry & mode.address_mask & ~low_bits(above_page == 1 ? 11 : 12)};
}

}  // namespace

PagingMode x86_64_paging(bool five_levels) {
  PagingMode mode{.name = five_levels ? "x86-64, 5 levels" : "x86-64, 4 levels",
                  .levels = {{39, 9}, {30, 9}, {21, 9}, {12, 9}},
                  .address_mask = 0x000ffffffffff000,
                  .decode = decode_x86_64};
  if (five_levels) mode.levels.insert(mode.levels.begin(), {48, 9});
  return mode;
}

PagingMode aarch64_paging(unsigned page_shift, unsigned va_bits) {
  PagingMode mode{.name = "aarch64, " + std::to_string(std::uint64_t{1} << (page_shift - 10)) +
                          " KiB pages, " + std::to_string(va_bits) + " bits",
                  .address_mask = 0x0000ffffffffffff & ~low_bits(page_shift),
                  .decode = decode_aarch64};
  const unsigned bits = page_shift - 3;
  for (unsigned shift = page_shift; shift < va_bits; shift += bits) {
    mode.levels.insert(mode.levels.begin(), {shift, std::min(bits, va_bits - shift)});
  }
  return mode;
}

PagingMode riscv64_paging(unsigned va_bits) {
  PagingMode mode{.name = "riscv64, Sv" + std::to_string(va_bits),
                  .address_mask = low_bits(54) & ~low_bits(10),
                  .decode = decode_riscv64};
  for (unsigned shift = 12; shift < va_bits; shift += 9)
    mode.levels.insert(mode.levels.begin(), {shift, 9});
  return mode;
}

PagingMode s390x_paging(unsigned top_table) {
  PagingMode mode{.name = "s390x, " + std::to_string(top_table + 2) + " levels",
                  .order = std::endian::big,
                  .levels = {{20, 11}, {12, 8}},
                  .address_mask = ~std::uint64_t{0x7ff},
                  .decode = decode_s390x};
  for (unsigned level = 0; level < top_table; ++level)
    mode.levels.insert(mode.levels.begin(), {31 + 11 * level, 11});
  return mode;
}

PagingMode linear_mapping(std::uint64_t offset) {
  return {.name = "linear mapping at " + hex(offset), .levels = {}, .linear = offset};
}

std::optional<std::uint64_t> PageTables::entry(GuestPhysAddr table, std::uint64_t index) const {
  std::array<std::byte, kEntrySize> bytes{};
  const auto at = GuestRange::try_sized(table, (index + 1) * kEntrySize);
  if (!at || !read_guest(*image_, table + index * kEntrySize, bytes)) return std::nullopt;
  return load<std::uint64_t>(bytes, mode_.order);
}

std::optional<GuestPhysAddr> PageTables::translate(GuestVirtAddr at) const {
  if (mode_.linear) return GuestPhysAddr{at.value - *mode_.linear};
  GuestPhysAddr table = root_;
  for (std::size_t depth = 0; depth < mode_.levels.size(); ++depth) {
    const PageTableLevel level = mode_.levels[depth];
    const auto raw = entry(table, (at.value >> level.shift) & low_bits(level.bits));
    if (!raw) return std::nullopt;
    const PageTableEntry decoded = mode_.decode(mode_, *raw, depth);
    if (decoded.kind == Kind::absent) return std::nullopt;
    if (decoded.kind == Kind::page)
      return GuestPhysAddr{decoded.address + (at.value & low_bits(level.shift))};
    table = {decoded.address};
  }
  return std::nullopt;
}

std::vector<Mapping> PageTables::mappings(VirtualRange range, std::size_t most) const {
  struct Table {
    std::size_t depth;
    std::vector<std::byte> bytes;
  };
  if (mode_.linear) return {{range, {range.begin().value - *mode_.linear}}};
  std::vector<Mapping> result;
  std::vector<Table> path;  // from the root to the table in use
  std::size_t tables = 0;
  const auto open = [&](GuestPhysAddr at) {
    const std::size_t depth = path.size();
    std::vector<std::byte> bytes(kEntrySize << mode_.levels[depth].bits);
    if (++tables > kMostTables || !read_guest(*image_, at, bytes)) bytes.clear();
    path.push_back({depth, std::move(bytes)});
  };
  open(root_);
  for (GuestVirtAddr at = range.begin(); at < range.end() && tables <= kMostTables;) {
    const Table& table = path.back();
    const PageTableLevel level = mode_.levels[table.depth];
    const std::uint64_t index = (at.value >> level.shift) & low_bits(level.bits);
    PageTableEntry found;
    if (!table.bytes.empty()) {
      const auto raw = std::span(table.bytes).subspan(static_cast<std::size_t>(index) * kEntrySize);
      found = mode_.decode(mode_, load<std::uint64_t>(raw, mode_.order), table.depth);
    }
    if (found.kind == Kind::table) {
      open({found.address});
      continue;
    }
    // An empty table that could not be read is stepped over as a whole: its parent's entry.
    const std::uint64_t size = std::uint64_t{1} << level.shift;
    const std::uint64_t inside = at.value & (size - 1);
    const std::uint64_t step = std::min(size - inside, range.end() - at);
    if (found.kind == Kind::page) {
      const Mapping mapping{VirtualRange::sized(at, step), {found.address + inside}};
      Mapping* last = result.empty() ? nullptr : &result.back();
      if (last != nullptr && last->guest_virtual.end() == at &&
          last->guest_physical.value + last->guest_virtual.size() == mapping.guest_physical.value) {
        last->guest_virtual = VirtualRange::between(last->guest_virtual.begin(),
                                                    mapping.guest_virtual.end());
      } else if (result.size() == most) {
        break;
      } else {
        result.push_back(mapping);
      }
    }
    at = at + step;
    // Back up to the level whose entry changed.
    while (path.size() > 1) {
      const unsigned covered = mode_.levels[path.size() - 2].shift;
      if ((at.value & low_bits(covered)) != 0) break;
      path.pop_back();
    }
  }
  return result;
}

bool PageTables::read(GuestVirtAddr at, std::span<std::byte> out) const {
  const unsigned page_shift = mode_.linear ? kLinearShift : mode_.levels.back().shift;
  if (!VirtualRange::try_sized(at, out.size())) return false;
  while (!out.empty()) {
    const auto from = translate(at);
    const std::uint64_t left = (std::uint64_t{1} << page_shift) - (at.value & low_bits(page_shift));
    const auto part = out.first(static_cast<std::size_t>(std::min<std::uint64_t>(left, out.size())));
    if (!from || !read_guest(*image_, *from, part)) return false;
    out = out.subspan(part.size());
    if (!out.empty()) at = at + part.size();
  }
  return true;
}

std::optional<std::uint64_t> PageTables::read_u64(GuestVirtAddr at) const {
  std::array<std::byte, 8> bytes{};
  if (!read(at, bytes)) return std::nullopt;
  return load<std::uint64_t>(bytes, mode_.order);
}

}  // namespace vmconvert
