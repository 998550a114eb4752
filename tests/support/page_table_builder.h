#pragma once

#include <bit>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "support/byte_writer.h"
#include "vmconvert/model/guest_image.h"

namespace vmconvert::test {

/// Guest memory from a guest-physical address on, all of it zero at first.
class PhysicalMemory {
 public:
  PhysicalMemory(Arch arch, std::endian order, std::uint64_t base, std::uint64_t size)
      : arch_(arch), order_(order), base_(base), bytes_(static_cast<std::size_t>(size)) {}

  std::endian order() const { return order_; }
  std::uint64_t end() const { return base_ + bytes_.size(); }
  void put(std::uint64_t gpa, std::string_view text);
  /// `size` bytes of the number.
  void put_number(std::uint64_t gpa, std::uint64_t value, unsigned size, std::endian order);
  std::uint64_t number(std::uint64_t gpa, unsigned size, std::endian order) const;
  /// Without vCPUs.
  GuestImage image() const;

 private:
  Arch arch_;
  std::endian order_;
  std::uint64_t base_;
  Bytes bytes_;
};

/// How a processor's tables are written, from its manual. Depth 0 is the root.
struct TableFormat {
  struct Level {
    unsigned shift, bits;
  };
  std::vector<Level> levels;
  std::endian order = std::endian::little;
  unsigned entry_size = 8;
  std::uint64_t table_alignment = 4096;
  std::function<std::uint64_t(std::size_t depth, std::uint64_t table)> table_entry;
  std::function<std::uint64_t(std::size_t depth, std::uint64_t page)> page_entry;
  /// Zero is an entry like any other on s390x.
  std::function<std::uint64_t(std::size_t depth)> no_entry = [](std::size_t) { return 0U; };
};

TableFormat x86_64_tables(unsigned levels);
TableFormat pae_tables();
TableFormat i386_tables();
/// @param wide  52-bit addresses with pages of 4 or 16 KiB
TableFormat aarch64_tables(unsigned page_shift, unsigned va_bits, bool wide = false,
                           std::endian order = std::endian::little);
TableFormat riscv64_tables(unsigned levels);
/// @param top_type  of the root: 3 region-first to 0 segment
TableFormat s390x_tables(unsigned top_type);
TableFormat ppc64_tables(unsigned page_shift);

/// Writes tables into memory.
class PageTableBuilder {
 public:
  /// @param root  the first table; further ones follow it
  PageTableBuilder(PhysicalMemory& memory, TableFormat format, std::uint64_t root);

  std::uint64_t root() const { return root_; }
  /// Maps the page of 2^shift bytes that `gva` lies in.
  void map(std::uint64_t gva, std::uint64_t gpa, unsigned shift);
  /// Maps [gva, gva + size) by pages of 2^shift bytes.
  void map_range(std::uint64_t gva, std::uint64_t gpa, std::uint64_t size, unsigned shift);
  /// Where the entry for `gva` of a level is; the tables above it are made if need be.
  std::uint64_t entry_at(std::uint64_t gva, std::size_t depth);
  void put_entry(std::uint64_t gva, std::size_t depth, std::uint64_t entry);

 private:
  std::uint64_t new_table(std::size_t depth);

  PhysicalMemory& memory_;
  TableFormat format_;
  std::uint64_t next_, root_;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> tables_;  ///< entry, table it leads to
};

}  // namespace vmconvert::test
