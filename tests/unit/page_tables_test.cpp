#include "vmconvert/kernel/page_tables.h"

#include <array>
#include <utility>

#include "support/page_table_builder.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

constexpr std::uint64_t kMib = 1 << 20, kGib = 1 << 30;
constexpr std::uint64_t kRoot = 0x100000;

/// One way of paging: as the tests write tables and as the code under test reads them.
struct Way {
  TableFormat format;
  PagingMode mode;
  Arch arch;
  std::uint64_t base;            ///< gva, a multiple of every page
  std::vector<unsigned> shifts;  ///< of all pages there are
};

std::vector<Way> all_ways() {
  const auto aarch64 = [](unsigned page_shift, unsigned va_bits, bool wide,
                          std::vector<unsigned> shifts) {
    return Way{aarch64_tables(page_shift, va_bits, wide), aarch64_paging(page_shift, va_bits, wide),
               Arch::aarch64, ~std::uint64_t{0} << va_bits, std::move(shifts)};
  };
  return {
      {x86_64_tables(4), x86_64_paging(false), Arch::x86_64, 0xffff800000000000, {12, 21, 30}},
      {x86_64_tables(5), x86_64_paging(true), Arch::x86_64, 0xff00000000000000, {12, 21, 30}},
      {pae_tables(), i386_paging(true), Arch::i386, 0, {12, 21}},
      {i386_tables(), i386_paging(false), Arch::i386, 0, {12, 22}},
      aarch64(12, 39, false, {12, 21, 30}),
      aarch64(12, 48, false, {12, 21, 30}),
      aarch64(12, 52, true, {12, 21, 30, 39}),
      aarch64(14, 36, false, {14, 25}),
      aarch64(14, 47, false, {14, 25}),
      aarch64(14, 48, false, {14, 25}),
      aarch64(14, 52, true, {14, 25, 36}),
      aarch64(16, 42, false, {16, 29}),
      aarch64(16, 48, false, {16, 29}),
      aarch64(16, 52, false, {16, 29, 42}),
      {riscv64_tables(3), riscv64_paging(39), Arch::riscv64, 0xffffffc000000000, {12, 21, 30}},
      {riscv64_tables(4), riscv64_paging(48), Arch::riscv64, 0xffff800000000000, {12, 21, 30, 39}},
      {riscv64_tables(5),
       riscv64_paging(57),
       Arch::riscv64,
       0xff00000000000000,
       {12, 21, 30, 39, 48}},
      {s390x_tables(0), s390x_paging(0), Arch::s390x, 0, {12, 20}},
      {s390x_tables(1), s390x_paging(1), Arch::s390x, 0, {12, 20, 31}},
      {s390x_tables(2), s390x_paging(2), Arch::s390x, 0, {12, 20, 31}},
      {s390x_tables(3), s390x_paging(3), Arch::s390x, 0, {12, 20, 31}},
      {ppc64_tables(12), ppc64_radix_paging(12), Arch::ppc64, 0xc000000000000000, {12, 21, 30}},
      {ppc64_tables(16), ppc64_radix_paging(16), Arch::ppc64, 0xc000000000000000, {16, 21, 30}},
  };
}

PhysicalMemory memory_for(const Way& way) { return {way.arch, way.format.order, 0, 4 * kMib}; }

PageTables tables_of(const GuestImage& image, const PagingMode& mode) {
  return {image, mode, {kRoot}};
}

/// Where a page may lie that is beyond what the builder's memory holds: only its address counts.
std::uint64_t page_gpa(unsigned shift) { return std::uint64_t{3} << shift; }

TEST_CASE("page tables: pages of every size at every level") {
  for (const Way& way : all_ways()) {
    CAPTURE(way.mode.name);
    PhysicalMemory memory = memory_for(way);
    PageTableBuilder builder(memory, way.format, kRoot);
    for (const unsigned shift : way.shifts) {
      CAPTURE(shift);
      const std::uint64_t size = std::uint64_t{1} << shift;
      const std::uint64_t gva = way.base + 2 * size;  // nothing else is mapped in this one
      builder.map(gva, page_gpa(shift), shift);
    }
    const GuestImage image = memory.image();
    const PageTables tables = tables_of(image, way.mode);
    for (const unsigned shift : way.shifts) {
      CAPTURE(shift);
      const std::uint64_t size = std::uint64_t{1} << shift, gva = way.base + 2 * size;
      CHECK(tables.translate({gva}) == GuestPhysAddr{page_gpa(shift)});
      CHECK(tables.translate({gva + size - 3}) == GuestPhysAddr{page_gpa(shift) + size - 3});
      CHECK(!tables.translate({gva + size}).has_value());
      CHECK(!tables.translate({gva - 1}).has_value());
      const auto found = tables.mappings(VirtualRange::sized({gva}, 2 * size), 9);
      REQUIRE(found.size() == 1);
      CHECK(found[0].guest_virtual == VirtualRange::sized({gva}, size));
      CHECK(found[0].guest_physical == GuestPhysAddr{page_gpa(shift)});
    }
  }
}

TEST_CASE("page tables: an entry of the level above the largest page is no page") {
  for (const Way& way : all_ways()) {
    CAPTURE(way.mode.name);
    const auto above = [&] {
      for (std::size_t depth = way.format.levels.size(); depth-- > 0;)
        if (way.format.levels[depth].shift > way.shifts.back()) return static_cast<int>(depth);
      return -1;
    }();
    if (above < 0) continue;  // as on riscv64: any level has pages
    PhysicalMemory memory = memory_for(way);
    PageTableBuilder builder(memory, way.format, kRoot);
    builder.map(way.base, 0, way.format.levels[static_cast<std::size_t>(above)].shift);
    const GuestImage image = memory.image();
    const auto to = tables_of(image, way.mode).translate({way.base + 0x3000});
    // x86 ignores the bit in the root of PAE tables; then the entry leads to a table without
    // entries.
    CHECK(!to.has_value());
  }
}

TEST_CASE("page tables: neighbours are joined, from table to table; no more than asked for") {
  for (const Way& way : all_ways()) {
    CAPTURE(way.mode.name);
    PhysicalMemory memory = memory_for(way);
    PageTableBuilder builder(memory, way.format, kRoot);
    const auto last = way.format.levels.back();
    const std::uint64_t page = std::uint64_t{1} << last.shift, table = page << last.bits;
    // From the last two pages of one table to the first two of the next.
    builder.map_range(way.base + table - 2 * page, 8 * page, 4 * page, last.shift);
    builder.map(way.base + table + 3 * page, 8 * page, last.shift);
    builder.map(way.base + table + 5 * page, 8 * page, last.shift);
    const GuestImage image = memory.image();
    const PageTables tables = tables_of(image, way.mode);
    const auto all = VirtualRange::sized({way.base}, 3 * table);
    const auto found = tables.mappings(all, 100);
    REQUIRE(found.size() == 3);
    CHECK(found[0].guest_virtual == VirtualRange::sized({way.base + table - 2 * page}, 4 * page));
    CHECK(found[0].guest_physical == GuestPhysAddr{8 * page});
    CHECK(found[2].guest_virtual == VirtualRange::sized({way.base + table + 5 * page}, page));
    CHECK(tables.mappings(all, 2).size() == 2);
    CHECK(tables.mappings(all, 0).empty());
    // Cut at both ends.
    const auto part = VirtualRange::sized({way.base + table - page - 16}, 32);
    const auto cut = tables.mappings(part, 100);
    REQUIRE(cut.size() == 1);
    CHECK(cut[0].guest_virtual == part);
    CHECK(cut[0].guest_physical == GuestPhysAddr{9 * page - 16});
  }
}

TEST_CASE("page tables: those outside of memory map nothing") {
  for (const Way& way : all_ways()) {
    CAPTURE(way.mode.name);
    PhysicalMemory memory = memory_for(way);
    PageTableBuilder builder(memory, way.format, kRoot);
    builder.put_entry(way.base, 0, way.format.table_entry(0, 64 * kMib));
    const GuestImage image = memory.image();
    const auto range = VirtualRange::sized({way.base}, 16 * kMib);
    for (const std::uint64_t root : {kRoot, 16 * kMib, std::uint64_t{0} - 4096}) {
      const PageTables tables(image, way.mode, {root});
      CHECK(!tables.translate({way.base}).has_value());
      CHECK(tables.mappings(range, 10).empty());
    }
    const PageTables cut_off(image, way.mode, {4 * kMib - 16});
    CHECK(cut_off.mappings(range, 10).empty());
  }
}

TEST_CASE("page tables: a root that leads to itself comes to an end") {
  for (const Way& way : all_ways()) {
    CAPTURE(way.mode.name);
    PhysicalMemory memory = memory_for(way);
    PageTableBuilder builder(memory, way.format, kRoot);
    const auto top = way.format.levels.front();
    for (std::uint64_t i = 0; i < std::uint64_t{1} << top.bits; ++i)
      builder.put_entry(i << top.shift, 0, way.format.table_entry(0, kRoot));
    const GuestImage image = memory.image();
    const PageTables tables = tables_of(image, way.mode);
    tables.translate({way.base + 0x123456});
    const auto found = tables.mappings(VirtualRange::sized({way.base}, 8 * kGib), 1000);
    CHECK(found.size() <= 1000);
  }
}

TEST_CASE("page tables: addresses that the processor does not translate are not mapped") {
  const std::pair<std::size_t, std::vector<std::uint64_t>> none[] = {
      {0, {0x0000800000000000, 0xfffe800000000000, 0x1234800000000000}},
      {1, {0x0100000000000000, 0xfe00000000000000}},
      {2, {0x100000000, 0xffffffff00000000}},
      {5, {0, 0x0000800000000000, 0x0100000000000000}},
      {14, {0x0000004000000000, 0xffffff8000000000}},
      {18, {0x0000040000000000, 0x8000000000000000}},
      {21, {0, 0xd000000000000000, 0xc010000000000000}},
  };
  const std::vector<Way> ways = all_ways();
  for (const auto& [index, addresses] : none) {
    const Way& way = ways[index];
    CAPTURE(way.mode.name);
    PhysicalMemory memory = memory_for(way);
    PageTableBuilder builder(memory, way.format, kRoot);
    builder.map(way.base, page_gpa(way.shifts[0]), way.shifts[0]);
    const GuestImage image = memory.image();
    const PageTables tables = tables_of(image, way.mode);
    CHECK(tables.translate({way.base}).has_value());
    for (const std::uint64_t address : addresses) {
      CAPTURE(address);
      CHECK(!tables.translate({address}).has_value());
      CHECK(tables.mappings(VirtualRange::sized({address}, kMib), 9).empty());
    }
  }
}

TEST_CASE("page tables: a range over both halves of the addresses") {
  const Way way = all_ways()[0];
  PhysicalMemory memory = memory_for(way);
  PageTableBuilder builder(memory, way.format, kRoot);
  builder.map(0x00007ffffffff000, 0x5000, 12);
  builder.map(0xffff800000000000, 0x6000, 12);
  const GuestImage image = memory.image();
  const auto found =
      tables_of(image, way.mode).mappings(VirtualRange::between({0}, {UINT64_MAX}), 10);
  REQUIRE(found.size() == 2);
  CHECK(found[0].guest_virtual == VirtualRange::sized({0x00007ffffffff000}, 4096));
  CHECK(found[1].guest_virtual == VirtualRange::sized({0xffff800000000000}, 4096));
}

TEST_CASE("page tables: addresses of 52 bits") {
  // Bits 51:48 at 15:12 with pages of 64 KiB, 51:50 at 9:8 with smaller ones.
  struct Kind {
    unsigned shift, va_bits;
    bool wide;
  };
  for (const auto [shift, va_bits, wide] :
       {Kind{16, 48, false}, Kind{16, 52, false}, Kind{12, 52, true}, Kind{14, 52, true}}) {
    PhysicalMemory memory(Arch::aarch64, std::endian::little, 0, 4 * kMib);
    PageTableBuilder builder(memory, aarch64_tables(shift, va_bits, wide), kRoot);
    const std::uint64_t gva = ~std::uint64_t{0} << va_bits, gpa = 0x000e123456780000;
    builder.map(gva, gpa, shift);
    const GuestImage image = memory.image();
    const auto mode = aarch64_paging(shift, va_bits, wide);
    CHECK(tables_of(image, mode).translate({gva + 5}) == GuestPhysAddr{gpa + 5});
  }
}

TEST_CASE("page tables: reading goes from page to page and stops at what is not mapped") {
  PhysicalMemory memory(Arch::s390x, std::endian::big, 0, 4 * kMib);
  PageTableBuilder builder(memory, s390x_tables(1), kRoot);
  builder.map(0x10000, 0x8000, 12);
  builder.map(0x11000, 0x6000, 12);
  builder.map(0x12000, 8 * kMib, 12);  // no memory
  memory.put(0x8ffe, "AB");
  memory.put(0x6000, "CD");
  memory.put_number(0x6010, 0x123456789, 8, std::endian::big);
  const GuestImage image = memory.image();
  const PageTables tables = tables_of(image, s390x_paging(1));
  std::array<char, 4> text{};
  CHECK(tables.read({0x10ffe}, std::as_writable_bytes(std::span(text))));
  CHECK(std::string_view(text.data(), 4) == "ABCD");
  CHECK(!tables.read({0x11ffe}, std::as_writable_bytes(std::span(text))));
  CHECK(!tables.read({0xfffe}, std::as_writable_bytes(std::span(text))));
  CHECK(!tables.read({UINT64_MAX - 1}, std::as_writable_bytes(std::span(text))));
  CHECK(tables.read_pointer({0x11010}) == 0x123456789);
  CHECK(!tables.read_pointer({0x11ffc}).has_value());
}

TEST_CASE(
    "page tables: pointers of i386 are of four bytes, those of ppc64le are not as its tables") {
  PhysicalMemory pc(Arch::i386, std::endian::little, 0, 4 * kMib);
  PageTableBuilder pae(pc, pae_tables(), kRoot);
  pae.map(0xc0000000, 0x5000, 12);
  pc.put_number(0x5000, 0xc0001234, 8, std::endian::little);
  const GuestImage pc_image = pc.image();
  CHECK(tables_of(pc_image, i386_paging(true)).read_pointer({0xc0000000}) == 0xc0001234);

  PhysicalMemory power(Arch::ppc64, std::endian::little, 0, 4 * kMib);
  PageTableBuilder radix(power, ppc64_tables(12), kRoot);
  radix.map(0xc000000000005000, 0x5000, 12);
  power.put_number(0x5000, 0xc000000000001234, 8, std::endian::little);
  const GuestImage power_image = power.image();
  CHECK(tables_of(power_image, ppc64_radix_paging(12)).read_pointer({0xc000000000005000}) ==
        0xc000000000001234);
}

}  // namespace
}  // namespace vmconvert::test
