#include "support/device_payloads.h"
#include "support/pc_stream.h"
#include "support/reading.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

constexpr std::uint64_t kPage = 4096;

struct Guest {
  std::string machine = "pc-i440fx-7.2";
  std::vector<BlockEntry> blocks;  ///< of main RAM
  Bytes rtc;                       ///< empty: none
};

/// A page of content at both sides of the split and at the end: numbers 1, 2, 3.
ReadResult read_guest_of(const Guest& guest, std::uint64_t below, const ReadOptions& options = {}) {
  std::uint64_t ram = 0;
  for (const BlockEntry& block : guest.blocks) ram += block.length;
  auto blocks = guest.blocks;
  blocks.push_back({"vga.vram", 4 * kKiB, {}});  // its window hides RAM from 0xa0000 on
  QevmBuilder stream = pc(guest.machine).ram_start(blocks);
  RamPayload payload;
  const auto mark = [&](std::uint64_t offset, std::uint64_t number) {
    for (const BlockEntry& block : guest.blocks) {
      if (offset < block.length) {
        payload.page(block.name, offset, number);
        return;
      }
      offset -= block.length;
    }
  };
  mark(below - kPage, 1);
  mark(below, 2);
  mark(ram - kPage, 3);
  stream.ram_end(payload.eos());
  if (!guest.rtc.empty()) stream.device("mc146818rtc", guest.rtc, {.version = 3});
  return read_bytes(stream.eos().description().bytes(), options);
}

/// The image is [0, below) and [4 GiB, ...) with the pages where they belong.
void check_split(const ReadResult& result, std::uint64_t below, std::uint64_t ram,
                 std::uint64_t above_base = 4 * kGiB) {
  REQUIRE(result.error == "");
  const std::uint64_t end = above_base + ram - below;
  CHECK(result.image->runs.extents() == std::vector{guest_range(0, 0xa0000),
                                                    guest_range(0xc0000, below),
                                                    guest_range(above_base, end)});
  CHECK(is_page(*result.image, below - kPage, 1));
  CHECK(is_page(*result.image, above_base, 2));
  CHECK(is_page(*result.image, end - kPage, 3));
}

TEST_CASE("layout: RAM beyond the hole begins at 4 GiB") {
  check_split(read_guest_of({.blocks = {{"pc.ram", 5 * kGiB, {}}}}, 3 * kGiB), 3 * kGiB, 5 * kGiB);
  check_split(read_guest_of({"pc-q35-7.2", {{"pc.ram", 5 * kGiB, {}}}, {}}, 2 * kGiB), 2 * kGiB,
              5 * kGiB);
}

TEST_CASE("layout: a guest below the hole is one piece") {
  const ReadResult result = read_guest_of({.blocks = {{"pc.ram", 0xdffff000, {}}}}, kGiB);
  REQUIRE(result.error == "");
  CHECK(result.image->runs.extents() ==
        std::vector{guest_range(0, 0xa0000), guest_range(0xc0000, 0xdffff000)});
}

TEST_CASE("layout: the CMOS decides against the rule") {
  const ReadResult result = read_guest_of(
      {"pc-i440fx-7.2", {{"pc.ram", 3 * kGiB, {}}}, rtc_state(2 * kGiB, kGiB)}, 2 * kGiB);
  check_split(result, 2 * kGiB, 3 * kGiB);
  CHECK(result.has_decision(
      "2 GiB of RAM from address 0 on, 1 GiB from 0x100000000 on (from the CMOS RAM of the saved "
      "RTC)"));
}

TEST_CASE("layout: the user decides against the CMOS") {
  check_split(
      read_guest_of({"pc-i440fx-7.2", {{"pc.ram", 3 * kGiB, {}}}, rtc_state(2 * kGiB, kGiB)}, kGiB,
                    {.below_4g = kGiB}),
      kGiB, 3 * kGiB);
}

TEST_CASE("layout: a value of the user that does not fit is refused") {
  const ReadResult result =
      read_guest_of({.blocks = {{"pc.ram", 2 * kGiB, {}}}}, kGiB, {.below_4g = 3 * kGiB});
  CHECK(result.kind == ErrorKind::usage);
  CHECK(result.error ==
        "--below-4g 3 GiB is not a multiple of 64 KiB within main RAM (2 GiB) and 4 GiB");
}

TEST_CASE("layout: the split falls into a NUMA node") {
  check_split(read_guest_of(
                  {"pc-q35-7.2",
                   {{"ram-node0", kGiB, {}}, {"ram-node1", 3 * kGiB, {}}, {"ram-node2", kGiB, {}}},
                   {}},
                  2 * kGiB),
              2 * kGiB, 5 * kGiB);
}

TEST_CASE("layout: the split falls between NUMA nodes") {
  check_split(
      read_guest_of({"pc-q35-7.2", {{"ram-node0", 2 * kGiB, {}}, {"ram-node1", 3 * kGiB, {}}}, {}},
                    2 * kGiB),
      2 * kGiB, 5 * kGiB);
}

TEST_CASE("layout: xen.ram counts its hole") {
  QevmBuilder stream =
      pc("xenfv-4.2").ram_start({{"xen.ram", 5 * kGiB, {}}, {"vga.vram", 4 * kKiB, {}}});
  stream.ram_end(RamPayload().page("xen.ram", 4 * kGiB, 7).page("xen.ram", 0xeffff000, 8).eos());
  const ReadResult result = read_bytes(stream.eos().bytes());
  REQUIRE(result.error == "");
  CHECK(result.image->runs.extents() == std::vector{guest_range(0, 0xa0000),
                                                    guest_range(0xc0000, 0xf0000000),
                                                    guest_range(4 * kGiB, 5 * kGiB)});
  CHECK(is_page(*result.image, 4 * kGiB, 7));
  CHECK(is_page(*result.image, 0xeffff000, 8));
}

TEST_CASE("layout: RAM of an AMD guest that the firmware's map puts at 1 TiB is there") {
  // An e820 entry in a page of low memory.
  const std::uint64_t ram = 1100 * kGiB, below = 3 * kGiB;
  QevmBuilder stream = pc().ram_start({{"pc.ram", ram, {}}, {"vga.vram", 4 * kKiB, {}}});
  Bytes map = page_of(9);
  const Bytes entry = ByteWriter().le64(kGiB * 1024).le64(ram - below).le32(1).bytes();
  std::copy(entry.begin(), entry.end(), map.begin() + 100);
  const Bytes name = ByteWriter().counted_text("pc.ram").append(map).bytes();
  stream.ram_end(RamPayload()
                     .page("pc.ram", below, 2)
                     .page("pc.ram", below - kPage, 1)
                     .raw(0x1008, name)
                     .page("pc.ram", ram - kPage, 3)
                     .eos());
  const ReadResult result = read_bytes(stream.eos().bytes());
  check_split(result, below, ram, 1024 * kGiB);
  CHECK(
      result.has_decision("the guest's memory map says that RAM above 4 GiB was relocated (AMD)"));
}

TEST_CASE("layout: a guest that reaches into AMD's reserved range without a map is warned about") {
  const std::uint64_t ram = 1100 * kGiB;
  const ReadResult result = read_guest_of({.blocks = {{"pc.ram", ram, {}}}}, 3 * kGiB);
  check_split(result, 3 * kGiB, ram);
  CHECK(result.has_warning(
      "RAM above 4 GiB reaches beyond 0xfd00000000; if this is an AMD guest, QEMU may have put it "
      "at 0x10000000000"));
}

}  // namespace
}  // namespace vmconvert::test
