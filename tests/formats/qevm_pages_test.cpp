#include "qemu/qevm_stream.h"
#include "support/device_payloads.h"
#include "support/pc_stream.h"
#include "support/reading.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

/// Reads a guest of one block of `pages` pages from these payloads.
ReadResult read_ram(std::uint64_t pages, const std::vector<RamPayload>& parts) {
  QevmBuilder stream = pc().ram_start({{"pc.ram", pages * 4096, {}}});
  for (const RamPayload& part : parts) stream.ram_part(part);
  return read_bytes(stream.ram_end().eos().description().bytes());
}

TEST_CASE("qevm pages: zero and filled pages are without content in the file") {
  const ReadResult result = read_ram(4, {RamPayload()
                                             .zero("pc.ram", 0)
                                             .next_zero(4096, 0xaa)
                                             .next_zero(2 * 4096, 0xaa)
                                             .next_page(3 * 4096, 3)
                                             .eos()});
  REQUIRE(result.error == "");
  CHECK(result.image->runs.runs().size() == 3);
  CHECK(is_filled(*result.image, 0, 0));
  CHECK(is_filled(*result.image, 4096, 0xaa));
  CHECK(is_filled(*result.image, 2 * 4096, 0xaa));
  CHECK(is_page(*result.image, 3 * 4096, 3));
}

TEST_CASE("qevm pages: a page without a record is zero") {
  const ReadResult result = read_ram(4, {RamPayload().page("pc.ram", 2 * 4096, 9).eos()});
  REQUIRE(result.error == "");
  CHECK(result.image->runs.extents() == std::vector{guest_range(0, 4 * 4096)});
  for (const std::uint64_t page : {0U, 1U, 3U}) CHECK(is_filled(*result.image, page * 4096, 0));
  CHECK(is_page(*result.image, 2 * 4096, 9));
}

TEST_CASE("qevm pages: the last record of a page wins across sections") {
  const ReadResult result = read_ram(
      4, {RamPayload().pages("pc.ram", 0, 10, 4).eos(),
          RamPayload().zero("pc.ram", 4096).next_page(0, 20).eos(),
          RamPayload().page("pc.ram", 4096, 21).next_zero(0, 5).next_zero(2 * 4096).eos()});
  REQUIRE(result.error == "");
  CHECK(is_filled(*result.image, 0, 5));
  CHECK(is_page(*result.image, 4096, 21));
  CHECK(is_filled(*result.image, 2 * 4096, 0));
  CHECK(is_page(*result.image, 3 * 4096, 13));
}

TEST_CASE("qevm pages: the block named last holds for the next section") {
  const ReadResult result =
      read_ram(3, {RamPayload().page("pc.ram", 0, 0).eos(), RamPayload().next_page(4096, 1).eos(),
                   RamPayload().next_page(2 * 4096, 2).eos()});
  REQUIRE(result.error == "");
  CHECK(are_pages(*result.image, 0, 0, 3));
}

TEST_CASE("qevm pages: records of several blocks may alternate") {
  QevmBuilder stream = pc().ram_start({{"pc.ram", 8 * 4096, {}}, {"vga.vram", 8 * 4096, {}}});
  RamPayload payload;
  for (std::uint64_t i = 0; i < 8; ++i) {
    payload.page("pc.ram", i * 4096, i).page("vga.vram", i * 4096, 100 + i);
  }
  const ReadResult result = read_bytes(stream.ram_end(payload.eos()).eos().bytes());
  REQUIRE(result.error == "");
  CHECK(result.image->runs.extents() == std::vector{guest_range(0, 8 * 4096)});
  CHECK(are_pages(*result.image, 0, 0, 8));
}

TEST_CASE("qevm pages: a stream without a page is a guest of zeros") {
  const ReadResult result = read_ram(4, {});
  REQUIRE(result.error == "");
  CHECK(result.image->runs.runs().size() == 1);
  CHECK(is_filled(*result.image, 3 * 4096, 0));
}

TEST_CASE("qevm pages: pages that come in order are one run") {
  const ReadResult result = read_ram(300, {RamPayload().pages("pc.ram", 0, 0, 160).eos()});
  REQUIRE(result.error == "");
  // The first record names its block, so its page stands apart from the others' stride at most.
  CHECK(result.image->runs.runs().size() <= 3);
  CHECK(are_pages(*result.image, 0, 0, 160));
}

TEST_CASE("qevm pages: huge pages of postcopy announce their size behind the block") {
  const Bytes huge = ByteWriter().be64(2 * kMiB).bytes();
  const Bytes largest = ByteWriter().be64(kGiB).bytes();
  QevmBuilder stream = pc();
  stream.ram_start(
      RamPayload()
          .blocks(
              {{"pc.ram", 4 * kMiB, huge}, {"vga.vram", 64 * kKiB, {}}, {"other", kGiB, largest}})
          .eos());
  stream.ram_end(RamPayload().page("pc.ram", 0x5000, 5).eos());
  const ReadResult result =
      read_bytes(stream.eos().bytes(), {.block_addresses = {{"other", {kGiB}}}});
  REQUIRE(result.error == "");
  CHECK(is_page(*result.image, 0x5000, 5));
}

TEST_CASE("qevm pages: a record right behind the block list is no page size") {
  QevmBuilder stream = pc();
  stream.ram_start(RamPayload()
                       .blocks({{"pc.ram", 4 * kMiB, {}}})
                       .page("pc.ram", 64 * kKiB, 1)
                       .zero("pc.ram", 2 * kMiB, 7)
                       .eos());
  const ReadResult result = read_bytes(stream.ram_end().eos().bytes());
  REQUIRE(result.error == "");
  CHECK(is_page(*result.image, 64 * kKiB, 1));
  CHECK(is_filled(*result.image, 2 * kMiB, 7));
}

TEST_CASE("qevm pages: target pages of 64 KiB are parsed as such") {
  QevmBuilder stream = QevmBuilder().header().configuration("virt-10.0").target_page_bits(16);
  stream.ram_start({{"mach-virt.ram", 0x40000, {}}});
  stream.ram_end(RamPayload(0x10000).pages("mach-virt.ram", 0x10000, 1, 2).eos());
  const MemorySource source("input", stream.eos().bytes());
  CollectingDiagnostics diagnostics;
  qemu::QevmStream parsed =
      qemu::parse_qevm(source, FileRange::sized({0}, source.size()), false, diagnostics);
  CHECK(parsed.ram_format.page_size == 0x10000);
  REQUIRE(parsed.blocks.size() == 1);
  CHECK(parsed.blocks[0].records == 2);
  GuestImage image;
  image.sources = {std::make_shared<MemorySource>("input", stream.bytes())};
  image.runs = parsed.blocks[0].pages.finish();
  image.runs.check_invariants();
  CHECK(image.runs.extents() == std::vector{guest_range(0x10000, 0x30000)});
  CHECK(guest_bytes(image, 0x20000, 0x10000) == page_of(2, 0x10000));
}

TEST_CASE("qevm pages: target pages of 64 KiB are cut where a 16 KiB PAM part begins") {
  QevmBuilder stream =
      pc().target_page_bits(16).ram_start({{"pc.ram", 2 * kMiB, {}}, {"vga.vram", 64 * kKiB, {}}});
  stream.ram_end(RamPayload(0x10000).pages("pc.ram", 0, 1, 32).eos());
  // 0xc0000 to 0xc3fff is not RAM, the rest is.
  stream.device("0000:00:00.0/I440FX",
                i440fx_state({.pam = {0x30, 0x30, 0x33, 0x33, 0x33, 0x33, 0x33}}), {.version = 3});
  const ReadResult result = read_bytes(stream.eos().bytes());
  REQUIRE(result.error == "");
  result.image->runs.check_invariants();
  CHECK(result.image->runs.extents() ==
        std::vector{guest_range(0, 0xa0000), guest_range(0xc4000, 2 * kMiB)});
  const auto page = page_of(1 + 0xc, 0x10000);
  const auto tail = std::vector(page.begin() + 0x4000, page.end());
  CHECK(guest_bytes(*result.image, 0xc4000, 0xc000) == tail);
  CHECK(guest_bytes(*result.image, 0x1f0000, 0x10000) == page_of(1 + 0x1f, 0x10000));
}

}  // namespace
}  // namespace vmconvert::test
