// What single entries mean to each processor; page_tables_test.cpp has what all have in common.

#include "support/page_table_builder.h"
#include "support/test.h"
#include "vmconvert/kernel/page_tables.h"

namespace vmconvert::test {
namespace {

constexpr std::uint64_t kMib = 1 << 20;
constexpr std::uint64_t kRoot = 0x100000;

PageTables tables_of(const GuestImage& image, const PagingMode& mode) {
  return {image, mode, {kRoot}};
}

TEST_CASE("paging modes: aarch64 in the other byte order") {
  PhysicalMemory memory(Arch::aarch64, std::endian::big, 0, 4 * kMib);
  PageTableBuilder builder(memory, aarch64_tables(12, 48, false, std::endian::big), kRoot);
  builder.map(0xffff800000000000, 0x7000, 12);
  const GuestImage image = memory.image();
  PagingMode mode = aarch64_paging(12, 48, false);
  mode.order = std::endian::big;
  CHECK(tables_of(image, mode).translate({0xffff800000000000}) == GuestPhysAddr{0x7000});
}

TEST_CASE("paging modes: aarch64 knows neither blocks in the last table nor reserved entries") {
  for (const std::uint64_t entry : {0x7001U, 0x7002U, 0x7000U}) {
    PhysicalMemory memory(Arch::aarch64, std::endian::little, 0, 4 * kMib);
    PageTableBuilder builder(memory, aarch64_tables(12, 48), kRoot);
    builder.put_entry(0xffff800000000000, 3, entry);
    const GuestImage image = memory.image();
    const auto mode = aarch64_paging(12, 48, false);
    CHECK(!tables_of(image, mode).translate({0xffff800000000000}).has_value());
  }
}

TEST_CASE("paging modes: SEV's bit is no part of an address") {
  constexpr std::uint64_t kBit = std::uint64_t{1} << 51;
  PhysicalMemory memory(Arch::x86_64, std::endian::little, 0, 4 * kMib);
  TableFormat format = x86_64_tables(4);
  const TableFormat plain = format;
  format.table_entry = [plain](std::size_t depth, std::uint64_t table) {
    return plain.table_entry(depth, table) | kBit;
  };
  format.page_entry = [plain](std::size_t depth, std::uint64_t page) {
    return plain.page_entry(depth, page) | kBit;
  };
  PageTableBuilder builder(memory, format, kRoot);
  builder.map(0xffff800000000000, 0x7000, 12);
  const GuestImage image = memory.image();
  PagingMode mode = x86_64_paging(false);
  CHECK(!tables_of(image, mode).translate({0xffff800000000000}).has_value());
  mode.address_mask &= ~kBit;
  CHECK(tables_of(image, mode).translate({0xffff800000000000}) == GuestPhysAddr{0x7000});
}

TEST_CASE("paging modes: pages of 4 MiB above 4 GiB (PSE-36)") {
  PhysicalMemory memory(Arch::i386, std::endian::little, 0, 4 * kMib);
  PageTableBuilder builder(memory, i386_tables(), kRoot);
  builder.map(0xc0000000, 0xa540000000, 22);
  const GuestImage image = memory.image();
  const PageTables tables = tables_of(image, i386_paging(false));
  CHECK(tables.translate({0xc0123456}) == GuestPhysAddr{0xa540123456});
}

TEST_CASE("paging modes: riscv64 entries that the processor faults on, and pages of 64 KiB") {
  constexpr std::uint64_t kGva = 0xffffffc000000000, kNapot = std::uint64_t{1} << 63;
  const auto translated = [](std::uint64_t entry, std::size_t depth, std::uint64_t offset = 0) {
    PhysicalMemory memory(Arch::riscv64, std::endian::little, 0, 4 * kMib);
    PageTableBuilder builder(memory, riscv64_tables(3), kRoot);
    builder.put_entry(kGva, depth, entry);
    const GuestImage image = memory.image();
    return tables_of(image, riscv64_paging(39)).translate({kGva + offset});
  };
  CHECK(translated(0x80000 << 10 | 0xcf, 2) == GuestPhysAddr{0x80000000});
  CHECK(!translated(0x80000 << 10 | 0xce, 2).has_value());  // not valid
  CHECK(!translated(0x80000 << 10 | 0xc5, 2).has_value());  // writable alone
  CHECK(!translated(0x80000 << 10 | 0xcd, 2).has_value());  // writable and executable
  CHECK(!translated(0x80000 << 10 | 0x01, 2).has_value());  // a table below the last
  CHECK(!translated(0x80001 << 10 | 0xcf, 1).has_value());  // 2 MiB not on their border
  CHECK(translated(0x80200 << 10 | 0xcf, 1, 5) == GuestPhysAddr{0x80200005});
  // N and 1000 in the lowest bits of the frame number: each of 16 entries has them.
  CHECK(translated(kNapot | 0x80018 << 10 | 0xcf, 2, 5) == GuestPhysAddr{0x80010005});
  CHECK(!translated(kNapot | 0x80014 << 10 | 0xcf, 2).has_value());
  CHECK(!translated(kNapot | 0x80208 << 10 | 0xcf, 1).has_value());
  // Memory types (Svpbmt) at 62:61 are no part of the address.
  CHECK(translated(std::uint64_t{1} << 61 | 0x80000 << 10 | 0xcf, 2) == GuestPhysAddr{0x80000000});

  PhysicalMemory memory(Arch::riscv64, std::endian::little, 0, 4 * kMib);
  PageTableBuilder builder(memory, riscv64_tables(3), kRoot);
  for (std::uint64_t i = 0; i < 16; ++i)
    builder.put_entry(kGva + 4096 * i, 2, kNapot | 0x80018 << 10 | 0xcf);
  const GuestImage image = memory.image();
  const PageTables tables = tables_of(image, riscv64_paging(39));
  CHECK(tables.translate({kGva + 0xabcd}) == GuestPhysAddr{0x8001abcd});
  const auto found = tables.mappings(VirtualRange::sized({kGva}, kMib), 9);
  REQUIRE(found.size() == 1);
  CHECK(found[0].guest_virtual == VirtualRange::sized({kGva}, 65536));
  CHECK(found[0].guest_physical == GuestPhysAddr{0x80010000});
}

TEST_CASE("paging modes: a table of s390x is of the type that its level wants") {
  constexpr std::uint64_t kGva = 0x280000000;
  for (const unsigned bits : {0x0U, 0x8U, 0xcU}) {
    PhysicalMemory memory(Arch::s390x, std::endian::big, 0, 4 * kMib);
    PageTableBuilder builder(memory, s390x_tables(1), kRoot);
    builder.map(kGva, 0x7000, 12);
    const std::uint64_t at = builder.entry_at(kGva, 0);
    const std::uint64_t entry = memory.number(at, 8, std::endian::big);
    memory.put_number(at, (entry & ~std::uint64_t{0xc}) | bits, 8, std::endian::big);
    const GuestImage image = memory.image();
    CHECK(!tables_of(image, s390x_paging(1)).translate({kGva}).has_value());
  }
}

TEST_CASE("paging modes: a page table of s390x takes 2 KiB") {
  PhysicalMemory memory(Arch::s390x, std::endian::big, 0, 4 * kMib);
  PageTableBuilder builder(memory, s390x_tables(0), kRoot);
  builder.put_entry(0x100000, 0, 0x200800);
  for (std::uint64_t i = 0; i < 256; ++i)
    memory.put_number(0x200800 + 8 * i, 0x300000 + 4096 * i, 8, std::endian::big);
  const GuestImage image = memory.image();
  CHECK(tables_of(image, s390x_paging(0)).translate({0x1ff123}) == GuestPhysAddr{0x3ff123});
}

TEST_CASE("paging modes: a radix table of another size than its level's is none") {
  PhysicalMemory memory(Arch::ppc64, std::endian::little, 0, 4 * kMib);
  PageTableBuilder builder(memory, ppc64_tables(16), kRoot);
  builder.map(0xc000000000000000, 0x70000, 16);
  const GuestImage image = memory.image();
  CHECK(tables_of(image, ppc64_radix_paging(16)).translate({0xc000000000000000}) ==
        GuestPhysAddr{0x70000});
  CHECK(!tables_of(image, ppc64_radix_paging(12)).translate({0xc000000000000000}).has_value());
}

TEST_CASE("paging modes: a linear mapping holds in its region alone") {
  const GuestImage image = PhysicalMemory(Arch::ppc64, std::endian::big, 0, 4096).image();
  const PageTables tables(image, linear_mapping(0xc000000000000000), {0});
  CHECK(tables.translate({0xc000000012345678}) == GuestPhysAddr{0x12345678});
  CHECK(!tables.translate({0x12345678}).has_value());
  CHECK(!tables.translate({0xd000000012345678}).has_value());
  CHECK(!tables.translate({0xb000000012345678}).has_value());
  const auto found = tables.mappings(VirtualRange::sized({0xc000000000001000}, 64), 9);
  REQUIRE(found.size() == 1);
  CHECK(found[0].guest_physical == GuestPhysAddr{0x1000});
}

}  // namespace
}  // namespace vmconvert::test
