#include "support/page_table_builder.h"

#include <algorithm>
#include <stdexcept>

namespace vmconvert::test {

void PhysicalMemory::put(std::uint64_t gpa, std::string_view text) {
  if (gpa < base_ || gpa + text.size() > end()) throw std::logic_error("not in memory");
  const auto bytes = as_bytes(text);
  std::copy(bytes.begin(), bytes.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(gpa - base_));
}

void PhysicalMemory::put_number(std::uint64_t gpa, std::uint64_t value, unsigned size,
                                std::endian order) {
  std::string text(size, '\0');
  for (unsigned i = 0; i < size; ++i)
    text[order == std::endian::little ? i : size - 1 - i] = static_cast<char>(value >> (8 * i));
  put(gpa, text);
}

std::uint64_t PhysicalMemory::number(std::uint64_t gpa, unsigned size, std::endian order) const {
  std::uint64_t value = 0;
  for (unsigned i = 0; i < size; ++i) {
    const unsigned at = order == std::endian::little ? size - 1 - i : i;
    value = value << 8 | std::to_integer<std::uint64_t>(bytes_.at(gpa - base_ + at));
  }
  return value;
}

GuestImage PhysicalMemory::image() const {
  GuestImage image;
  image.arch = arch_;
  image.byte_order = order_;
  image.sources = {std::make_shared<MemorySource>("guest", bytes_)};
  RunListBuilder runs(4096);
  runs.add(
      {GuestRange::sized({base_}, bytes_.size()), InFile{.source = 0, .stride = 4096, .at = {0}}});
  image.runs = runs.finish();
  return image;
}

// Intel SDM 3A, 4.3 to 4.5: present, writable, accessed, dirty; bit 7 makes a page of an entry
// above the last level.
TableFormat x86_64_tables(unsigned levels) {
  TableFormat format;
  for (unsigned level = levels; level > 0; --level) format.levels.push_back({3 + 9 * level, 9});
  format.table_entry = [](std::size_t, std::uint64_t table) { return table | 0x67; };
  format.page_entry = [levels](std::size_t depth, std::uint64_t page) {
    return page | (depth + 1 == levels ? 0x63 : 0xe3) | std::uint64_t{1} << 63;
  };
  return format;
}

TableFormat pae_tables() {
  TableFormat format = x86_64_tables(3);
  format.levels[0].bits = 2;
  format.table_entry = [](std::size_t depth, std::uint64_t table) {
    return table | (depth == 0 ? 0x1 : 0x67);
  };
  return format;
}

TableFormat i386_tables() {
  TableFormat format;
  format.levels = {{22, 10}, {12, 10}};
  format.entry_size = 4;
  format.table_entry = [](std::size_t, std::uint64_t table) { return table | 0x67; };
  format.page_entry = [](std::size_t depth, std::uint64_t page) {
    // Bits 39:32 of a page of 4 MiB are at 20:13.
    return depth == 1 ? page | 0x63 : (page & 0xffc00000) | page >> 32 << 13 | 0xe3;
  };
  return format;
}

// Arm ARM, D8.3: 11 a table or the page of the last level, 01 a block. Access flag, inner
// shareable.
TableFormat aarch64_tables(unsigned page_shift, unsigned va_bits, bool wide, std::endian order) {
  TableFormat format;
  format.order = order;
  format.table_alignment = std::uint64_t{1} << page_shift;
  for (unsigned shift = page_shift; shift < va_bits; shift += page_shift - 3)
    format.levels.insert(format.levels.begin(), {shift, std::min(page_shift - 3, va_bits - shift)});
  const auto address = [=](std::uint64_t a) {
    if (wide) return (a & 0x0003ffffffffffff) | (a >> 50) << 8;
    return page_shift == 16 ? (a & 0x0000ffffffffffff) | (a >> 48) << 12 : a;
  };
  format.table_entry = [=](std::size_t, std::uint64_t table) { return address(table) | 3; };
  const std::size_t last = format.levels.size() - 1;
  format.page_entry = [=](std::size_t depth, std::uint64_t page) {
    return address(page) | 0x0060000000000400 | (wide ? 0 : 0x300) | (depth == last ? 3 : 1);
  };
  return format;
}

// RISC-V privileged architecture, 10.4: V, R, W, X, A, D; the frame number from bit 10 on.
TableFormat riscv64_tables(unsigned levels) {
  TableFormat format;
  for (unsigned level = levels; level > 0; --level) format.levels.push_back({3 + 9 * level, 9});
  format.table_entry = [](std::size_t, std::uint64_t table) { return table >> 12 << 10 | 1; };
  format.page_entry = [](std::size_t, std::uint64_t page) { return page >> 12 << 10 | 0xe7; };
  return format;
}

// Principles of Operation, chapter 3: type in bits 60-61, length in 62-63; bit 58 makes an entry
// invalid, bit 53 of a page table's entry; bit 53 of the others a large frame.
TableFormat s390x_tables(unsigned top_type) {
  TableFormat format;
  format.order = std::endian::big;
  format.table_alignment = 16384;
  for (unsigned type = top_type; type > 0; --type) format.levels.push_back({20 + 11 * type, 11});
  format.levels.push_back({20, 11});
  format.levels.push_back({12, 8});
  const auto type_bits = [top_type](std::size_t depth) {
    return depth <= top_type ? (top_type - depth) << 2 : 0;
  };
  format.table_entry = [=](std::size_t depth, std::uint64_t table) {
    return table | type_bits(depth) | (depth < top_type ? 3 : 0);
  };
  format.page_entry = [=](std::size_t depth, std::uint64_t page) {
    return page | (depth <= top_type ? 0x400 | type_bits(depth) : 0);
  };
  format.no_entry = [=](std::size_t depth) {
    return depth <= top_type ? 0x20 | type_bits(depth) : std::uint64_t{0x400};
  };
  return format;
}

// Power ISA 3.0B, book III, 5.7.10: bit 0 valid, bit 1 leaf; NLS, the size of the next table, in
// the last five bits.
TableFormat ppc64_tables(unsigned page_shift) {
  TableFormat format;
  format.order = std::endian::big;
  format.table_alignment = 65536;
  format.levels = {{39, 13}, {30, 9}, {21, 9}, {page_shift, 21 - page_shift}};
  const std::vector<TableFormat::Level> levels = format.levels;
  format.table_entry = [levels](std::size_t depth, std::uint64_t table) {
    return std::uint64_t{1} << 63 | table | levels.at(depth + 1).bits;
  };
  format.page_entry = [](std::size_t, std::uint64_t page) {
    return std::uint64_t{3} << 62 | page | 0x18e;
  };
  return format;
}

PageTableBuilder::PageTableBuilder(PhysicalMemory& memory, TableFormat format, std::uint64_t root)
    : memory_(memory), format_(std::move(format)), next_(root), root_(new_table(0)) {}

std::uint64_t PageTableBuilder::new_table(std::size_t depth) {
  const std::uint64_t table =
      (next_ + format_.table_alignment - 1) / format_.table_alignment * format_.table_alignment;
  next_ = table;
  for (std::uint64_t i = 0; i < std::uint64_t{1} << format_.levels.at(depth).bits; ++i) {
    memory_.put_number(next_, format_.no_entry(depth), format_.entry_size, format_.order);
    next_ += format_.entry_size;
  }
  return table;
}

std::uint64_t PageTableBuilder::entry_at(std::uint64_t gva, std::size_t depth) {
  std::uint64_t table = root_;
  for (std::size_t at = 0;; ++at) {
    const auto level = format_.levels.at(at);
    const std::uint64_t index = gva >> level.shift & ((std::uint64_t{1} << level.bits) - 1);
    const std::uint64_t entry = table + index * format_.entry_size;
    if (at == depth) return entry;
    const auto known = std::find_if(tables_.begin(), tables_.end(),
                                    [&](const auto& t) { return t.first == entry; });
    if (known != tables_.end()) {
      table = known->second;
      continue;
    }
    table = new_table(at + 1);
    tables_.emplace_back(entry, table);
    memory_.put_number(entry, format_.table_entry(at, table), format_.entry_size, format_.order);
  }
}

void PageTableBuilder::put_entry(std::uint64_t gva, std::size_t depth, std::uint64_t entry) {
  memory_.put_number(entry_at(gva, depth), entry, format_.entry_size, format_.order);
}

void PageTableBuilder::map(std::uint64_t gva, std::uint64_t gpa, unsigned shift) {
  for (std::size_t depth = 0; depth < format_.levels.size(); ++depth) {
    if (format_.levels[depth].shift != shift) continue;
    const std::uint64_t page = gpa >> shift << shift;
    put_entry(gva, depth, format_.page_entry(depth, page));
    return;
  }
  throw std::logic_error("no level has pages of this size");
}

void PageTableBuilder::map_range(std::uint64_t gva, std::uint64_t gpa, std::uint64_t size,
                                 unsigned shift) {
  for (std::uint64_t at = 0; at < size; at += std::uint64_t{1} << shift)
    map(gva + at, gpa + at, shift);
}

}  // namespace vmconvert::test
