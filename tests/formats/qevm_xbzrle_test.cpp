#include <algorithm>
#include <map>

#include "support/device_payloads.h"
#include "support/encoded_ram.h"
#include "support/failing_io.h"
#include "support/pc_stream.h"
#include "support/reading.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

constexpr std::uint64_t kPages = 8;

/// A stream of one block, with these records in PARTs of their own, and an END without one.
Bytes stream_of(const std::vector<Bytes>& parts) {
  QevmBuilder stream = pc().ram_start({{"pc.ram", kPages * 4096, {}}});
  for (const Bytes& part : parts) {
    stream.part(2, ByteWriter().append(part).be64(0x10).bytes());
  }
  return stream.ram_end().device("timer", Bytes(24)).eos().description().bytes();
}

std::uint64_t first_record() { return pc().ram_start({{"pc.ram", kPages * 4096, {}}}).size() + 5; }

Bytes page_record(std::uint64_t offset, std::uint64_t number) {
  return RamPayload().page("pc.ram", offset, number).bytes();
}

Bytes delta_at(std::uint64_t offset, std::size_t position, const Bytes& bytes) {
  return delta_record(offset | 0x40, "pc.ram", Delta().same(position).changed(bytes).bytes());
}

/// page_of(number) with these bytes in it.
Bytes changed_page(std::uint64_t number, const std::map<std::size_t, Bytes>& changes) {
  Bytes page = page_of(number);
  for (const auto& [at, bytes] : changes) {
    std::copy(bytes.begin(), bytes.end(), page.begin() + static_cast<std::ptrdiff_t>(at));
  }
  return page;
}

const Bytes kA = from_hex("a0 a1 a2"), kB = from_hex("b0 b1"), kC = from_hex("c0");

TEST_CASE("xbzrle pages: deltas of all sections are applied to the page sent before") {
  const ReadResult result = read_bytes(
      stream_of({RamPayload().pages("pc.ram", 0, 0, kPages).bytes(), delta_at(0x2000, 5, kA),
                 delta_at(0x2000, 6, kB), delta_at(0x7000, 4095, kC)}));
  REQUIRE(result.error == "");
  CHECK(result.has_decision("0 compressed page records and 3 XBZRLE deltas"));
  CHECK(are_pages(*result.image, 0, 0, 2));
  CHECK(guest_bytes(*result.image, 0x2000, 4096) == changed_page(2, {{5, kA}, {6, kB}}));
  CHECK(are_pages(*result.image, 0x3000, 3, 4));
  CHECK(guest_bytes(*result.image, 0x7000, 4096) == changed_page(7, {{4095, kC}}));
  REQUIRE(result.image->sources.size() == 2);
  CHECK(result.image->sources[1]->size() == 2 * 4096);
}

TEST_CASE("xbzrle pages: a delta that names no block follows the record before") {
  const Bytes delta = Delta().same(1).changed(kA).bytes();
  const ReadResult result =
      read_bytes(stream_of({page_record(0x1000, 1), delta_record(0x1060, "", delta)}));
  REQUIRE(result.error == "");
  CHECK(guest_bytes(*result.image, 0x1000, 4096) == changed_page(1, {{1, kA}}));
}

TEST_CASE("xbzrle pages: filled and compressed pages can be changed") {
  const ReadResult result =
      read_bytes(stream_of({RamPayload().zero("pc.ram", 0).next_zero(0x1000, 0xee).bytes(),
                            compressed_record(0x2120, "", zlib_of(page_of(2))), delta_at(0, 9, kA),
                            delta_at(0x1000, 9, kA), delta_at(0x2000, 9, kA)}));
  REQUIRE(result.error == "");
  Bytes page(4096);
  std::copy(kA.begin(), kA.end(), page.begin() + 9);
  CHECK(guest_bytes(*result.image, 0, 4096) == page);
  std::fill(page.begin(), page.end(), std::byte{0xee});
  std::copy(kA.begin(), kA.end(), page.begin() + 9);
  CHECK(guest_bytes(*result.image, 0x1000, 4096) == page);
  CHECK(guest_bytes(*result.image, 0x2000, 4096) == changed_page(2, {{9, kA}}));
}

TEST_CASE("xbzrle pages: a whole page ends what deltas began") {
  const ReadResult result = read_bytes(
      stream_of({page_record(0, 1), delta_at(0, 0, kA), RamPayload().zero("pc.ram", 0).bytes(),
                 delta_at(0, 100, kB), page_record(0x1000, 2), delta_at(0x1000, 3, kA),
                 page_record(0x1000, 3), page_record(0x2000, 4), delta_at(0x2000, 3, kA),
                 compressed_record(0x2120, "", zlib_of(page_of(5)))}));
  REQUIRE(result.error == "");
  Bytes page(4096);
  std::copy(kB.begin(), kB.end(), page.begin() + 100);
  CHECK(guest_bytes(*result.image, 0, 4096) == page);
  CHECK(is_page(*result.image, 0x1000, 3));
  CHECK(is_page(*result.image, 0x2000, 5));
}

TEST_CASE("xbzrle pages: several blocks are kept apart") {
  QevmBuilder stream = pc().ram_start({{"pc.ram", 4 * 4096, {}}, {"vga.vram", 4 * 4096, {}}});
  stream.ram_part(RamPayload().pages("vga.vram", 0, 50, 4).pages("pc.ram", 0, 0, 4).eos());
  const Bytes delta = Delta().same(0).changed(kA).bytes();
  stream.end(2, ByteWriter()
                    .append(delta_record(0x1040, "vga.vram", Delta().same(0).changed(kB).bytes()))
                    .append(delta_record(0x1040, "pc.ram", delta))
                    .be64(0x10)
                    .bytes());
  const ReadResult result = read_bytes(stream.eos().bytes());
  REQUIRE(result.error == "");
  CHECK(is_page(*result.image, 0, 0));
  CHECK(guest_bytes(*result.image, 0x1000, 4096) == changed_page(1, {{0, kA}}));
}

TEST_CASE("xbzrle pages: a long chain of deltas in any order of pages") {
  std::map<std::uint64_t, Bytes> pages;
  std::vector<Bytes> parts{RamPayload().pages("pc.ram", 0, 0, kPages).bytes()};
  for (std::uint64_t i = 0; i < kPages; ++i) pages[i] = page_of(i);
  std::uint64_t state = 1;
  for (int i = 0; i < 3000; ++i) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    const std::uint64_t page = (state >> 40) % kPages;
    const std::size_t at = (state >> 20) % 4094;
    const Bytes bytes = from_hex(i % 2 == 0 ? "11 22" : "33");
    std::copy(bytes.begin(), bytes.end(), pages[page].begin() + static_cast<std::ptrdiff_t>(at));
    parts.push_back(delta_at(page * 4096, at, bytes));
  }
  const ReadResult result = read_bytes(stream_of(parts));
  REQUIRE(result.error == "");
  for (const auto& [number, page] : pages) {
    CHECK(guest_bytes(*result.image, number * 4096, 4096) == page);
  }
}

/// Page 1 is sent, changed by `record` and by a good delta; other pages are there.
void check_damaged(const Bytes& record, std::uint64_t told_at, const std::string& why) {
  CAPTURE(why);
  const Bytes first = page_record(0, 7);
  const Bytes bytes = stream_of({first, record, delta_at(0x1000, 8, kB), page_record(0x2000, 2)});
  const std::string place = "input: offset " + hex(told_at) + ": " + why;
  const ReadResult refused = read_bytes(bytes);
  CHECK(refused.kind == ErrorKind::corrupt);
  CHECK(refused.error == place + " (--salvage leaves it out)");
  const ReadResult salvaged = read_bytes(bytes, {.salvage = true});
  REQUIRE(salvaged.error == "");
  CHECK(salvaged.diagnostics->of(Diagnostics::Level::loss) ==
        std::vector<std::string>{
            place + "; the page is left out",
            "input: no content for 4 KiB of guest memory, left out: 0x1000-0x2000"});
  CHECK(is_page(*salvaged.image, 0, 7));
  CHECK(is_page(*salvaged.image, 0x2000, 2));
  CHECK(is_filled(*salvaged.image, 0x3000, 0));
}

TEST_CASE("xbzrle pages: damage is told with the place of its record") {
  // Behind the first part: its page record, EOS, footer, and the head of the next part.
  const std::uint64_t second = first_record() + 8 + 7 + 4096 + 8 + 5 + 5;
  check_damaged(delta_at(0x1000, 0, kA), second + 8 + 7,
                "delta of a page that was not sent before");
  const Bytes base = page_record(0x1000, 1);
  const auto damaged = [&](std::string_view hex) {
    return ByteWriter().append(base).append(delta_record(0x1060, "", from_hex(hex))).bytes();
  };
  const std::uint64_t delta = second + base.size() + 8;
  check_damaged(damaged("01 00"), delta, "delta holds an empty run of changed bytes");
  check_damaged(damaged("81 20 01 ff"), delta, "delta reaches past the end of its page");
  const Bytes packed = compressed_record(0x1100, "pc.ram", Bytes(9));
  check_damaged(ByteWriter().append(packed).append(delta_at(0x1000, 0, kA)).bytes(), second + 8 + 7,
                "compressed page is damaged");
}

TEST_CASE("xbzrle pages: a page that is whole again is not lost") {
  const Bytes bytes = stream_of({delta_at(0x1000, 0, kA), page_record(0x1000, 1)});
  const ReadResult result = read_bytes(bytes);
  REQUIRE(result.error == "");
  CHECK(is_page(*result.image, 0x1000, 1));
  const ReadResult again = read_bytes(
      stream_of({delta_at(0x1000, 0, kA), page_record(0x1000, 1), delta_at(0x1000, 0, kA)}),
      {.salvage = true});
  REQUIRE(again.error == "");
  CHECK(guest_bytes(*again.image, 0x1000, 4096) == changed_page(1, {{0, kA}}));
  CHECK(again.has_loss("delta of a page that was not sent before"));
}

TEST_CASE("xbzrle pages: heads of records that are impossible are refused") {
  const std::uint64_t body = first_record() + 8 + 7;
  const auto error = [](const Bytes& body_bytes) {
    return read_bytes(
               stream_of(
                   {ByteWriter().be64(0x40).counted_text("pc.ram").append(body_bytes).bytes()}))
        .error;
  };
  CHECK(error(from_hex("02 0000")) == "input: offset " + hex(body) +
                                          ": encoding of a delta 0x2 is unknown; only 1, XBZRLE, "
                                          "is known");
  CHECK(error(from_hex("01 1001")) ==
        "input: offset " + hex(body + 1) + ": length of a delta 0x1001 is more than a page");
}

TEST_CASE("xbzrle pages: VMCOREINFO is found behind deltas") {
  const Bytes note = vmcoreinfo_note("OSRELEASE=6.1\n");
  QevmBuilder stream = pc().ram_start({{"pc.ram", 0x4000, {}}});
  stream.ram_part(RamPayload().zero("pc.ram", 0x1000).eos());
  stream.end(2, ByteWriter()
                    .append(delta_record(0x1060, "", Delta().same(0).changed(note).bytes()))
                    .be64(0x10)
                    .bytes());
  stream.device("vmcoreinfo", vmcoreinfo_state({.paddr = 0x1000}));
  const ReadResult result = read_bytes(stream.eos().description().bytes());
  REQUIRE(result.error == "");
  REQUIRE(result.image->vmcoreinfo.has_value());
  CHECK(result.image->vmcoreinfo->text == "OSRELEASE=6.1\n");
}

TEST_CASE("xbzrle pages: each failing read ends with its error") {
  const auto memory = std::make_shared<MemorySource>(
      "input", stream_of({RamPayload().pages("pc.ram", 0, 0, 4).bytes(),
                          compressed_record(0x4120, "", zlib_of(page_of(4))),
                          delta_at(0x2000, 5, kA), delta_at(0x4000, 6, kB)}));
  for (std::uint64_t n = 1;; ++n) {
    CAPTURE(n);
    const auto source = std::make_shared<ThrowingSource>(memory, n);
    const ReadResult result = read_source(source, {.salvage = n % 2 == 0});
    if (!source->failed()) {
      CHECK(result.error == "");
      CHECK(n > 8);
      break;
    }
    REQUIRE(result.kind == ErrorKind::io);
  }
}

TEST_CASE("xbzrle pages: a stream that breaks off keeps what deltas made before") {
  Bytes bytes = stream_of({RamPayload().pages("pc.ram", 0, 0, kPages).bytes(),
                           delta_at(0x2000, 5, kA), delta_at(0x2000, 6, kB)});
  const Bytes last = delta_at(0x2000, 6, kB);
  const auto found = std::search(bytes.begin(), bytes.end(), last.begin(), last.end());
  bytes.erase(found + std::ssize(last) - 1, bytes.end());
  const ReadResult result = read_bytes(bytes, {.salvage = true});
  REQUIRE(result.error == "");
  CHECK(result.diagnostics->lost());
  CHECK(guest_bytes(*result.image, 0x2000, 4096) == changed_page(2, {{5, kA}}));
}

}  // namespace
}  // namespace vmconvert::test
