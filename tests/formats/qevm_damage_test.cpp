#include <algorithm>
#include <optional>

#include "support/device_payloads.h"
#include "support/failing_io.h"
#include "support/pc_stream.h"
#include "support/reading.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

/// A stream of every kind of element, small enough to try each byte. Pages come once.
struct Sample {
  Bytes bytes;
  std::uint64_t eof_at = 0;  ///< where the end mark lies

  /// True for all but a few of the bytes that are a page's content: no reader looks at them.
  bool is_dull(std::size_t at) const {
    if (at % 509 == 0) return false;
    for (const std::uint64_t page : {0U, 5U, 7U}) {
      const Bytes content = page_of(page);
      const auto begin = std::search(bytes.begin(), bytes.end(), content.begin(), content.end());
      const auto inside = static_cast<std::ptrdiff_t>(at) - (begin - bytes.begin());
      if (inside >= 0 && inside < std::ssize(content)) return true;
    }
    return false;
  }
};

Sample sample(bool footers) {
  QevmBuilder stream = pc("pc-i440fx-7.2", footers);
  stream.uuid().capabilities({"x"});
  stream.start(1, "dirty-bitmap", 1, from_hex("01"));
  stream.ram_start({{"vga.vram", 8192, {}}, {"pc.ram", 8 * 4096, {}}});
  stream.ram_part(RamPayload().page("pc.ram", 0, 0).next_zero(4096).next_zero(8192, 0xcc).eos());
  stream.part(1, from_hex("42 00 00 00 00 00 00 00 00 00 00 00 08 01"));
  stream.ram_part(RamPayload().page("pc.ram", 5 * 4096, 5).zero("vga.vram", 0).eos());
  stream.command(0x0b).ram_end(RamPayload().page("pc.ram", 7 * 4096, 7).eos());
  stream.end(1, from_hex("01"));
  stream.device("timer", Bytes(24, std::byte{3}));
  stream.device("vmcoreinfo", vmcoreinfo_state({.has = 0}));
  Sample result;
  result.eof_at = stream.size();
  result.bytes = stream.eos().description().padding(16).bytes();
  return result;
}

/// The guest's pages; nothing where there is none.
std::vector<std::optional<Bytes>> pages_of(const GuestImage& image) {
  std::vector<std::optional<Bytes>> pages(8);
  for (std::uint64_t i = 0; i < pages.size(); ++i) {
    Bytes page(4096);
    if (read_guest(image, {i * 4096}, page)) pages[i] = page;
  }
  return pages;
}

Bytes first_bytes(const Bytes& bytes, std::size_t size) {
  return {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)};
}

TEST_CASE("damage: a stream cut anywhere before its end is an error") {
  for (const bool footers : {true, false}) {
    CAPTURE(footers);
    const Sample whole = sample(footers);
    REQUIRE(read_bytes(whole.bytes).error == "");
    for (std::size_t size = 0; size < whole.bytes.size(); ++size) {
      CAPTURE(size);
      const ReadResult result = read_bytes(first_bytes(whole.bytes, size));
      // Without footers and description device state is searched, not walked; RAM is complete then.
      const bool enough = size > whole.eof_at || (!footers && result.image);
      // The end mark has to be followed by a whole head of a description, or by the end.
      const bool in_head = size > whole.eof_at + 1 && size < whole.eof_at + 7;
      if (footers && in_head) {
        REQUIRE(result.error.ends_with(
            "device section \"vmcoreinfo\" has no footer: the stream ends early"));
      } else if (enough) {
        REQUIRE(result.error == "");
        REQUIRE(pages_of(*result.image) == pages_of(*read_bytes(whole.bytes).image));
      } else {
        REQUIRE(result.error != "");
      }
    }
  }
}

TEST_CASE("damage: salvage of a cut stream keeps true pages and tells the loss") {
  const Sample whole = sample(true);
  const auto expected = pages_of(*read_bytes(whole.bytes).image);
  std::size_t most = 0;
  for (std::size_t size = 0; size <= whole.eof_at; ++size) {
    CAPTURE(size);
    const ReadResult result = read_bytes(first_bytes(whole.bytes, size), {.salvage = true});
    if (!result.image) continue;
    REQUIRE(result.diagnostics->lost());
    const auto found = pages_of(*result.image);
    std::size_t present = 0;
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (!found[i]) continue;
      ++present;
      REQUIRE(found[i] == expected[i]);
    }
    REQUIRE(present >= most);  // the longer, the more
    most = present;
  }
  CHECK(most == 8);
}

TEST_CASE("damage: what salvage lost is told with place and ranges") {
  QevmBuilder stream = pc().ram_start({{"pc.ram", 8 * 4096, {}}});
  stream.ram_part(RamPayload().page("pc.ram", 4096, 1).page("pc.ram", 3 * 4096, 3).eos());
  const std::uint64_t end = stream.size();
  const ReadResult result = read_bytes(stream.bytes(), {.salvage = true});
  REQUIRE(result.error == "");
  CHECK(result.image->runs.extents() ==
        std::vector{guest_range(4096, 8192), guest_range(3 * 4096, 4 * 4096)});
  CHECK(result.diagnostics->of(Diagnostics::Level::loss) ==
        std::vector{"input: offset " + hex(end) +
                        ": element type is cut off: 1 bytes wanted, 0 left; what follows is lost",
                    std::string("input: no content for 24 KiB of guest memory, left out: "
                                "0x0-0x1000 0x2000-0x3000 0x4000-0x8000")});
}

TEST_CASE("damage: many lost ranges are counted") {
  QevmBuilder stream = pc().ram_start({{"pc.ram", 100 * 4096, {}}});
  RamPayload payload;
  for (std::uint64_t i = 1; i < 100; i += 2) payload.zero("pc.ram", i * 4096);
  const ReadResult result = read_bytes(stream.ram_part(payload.eos()).bytes(), {.salvage = true});
  REQUIRE(result.error == "");
  CHECK(result.has_loss("no content for 200 KiB of guest memory, left out: 0x0-0x1000"));
  CHECK(result.has_loss("0x26000-0x27000 and 30 more ranges"));
}

TEST_CASE("damage: a flipped byte is an error or an image that keeps its promises") {
  for (const bool footers : {true, false}) {
    const Sample whole = sample(footers);
    for (std::size_t at = 0; at < whole.bytes.size(); ++at) {
      if (whole.is_dull(at)) continue;
      for (const unsigned pattern : {0x01U, 0x80U, 0x7fU, 0xffU}) {
        CAPTURE(at);
        CAPTURE(pattern);
        Bytes bytes = whole.bytes;
        bytes[at] ^= static_cast<std::byte>(pattern);
        for (const bool salvage : {false, true}) {
          // Throws unless it is one of both.
          const ReadResult result = read_bytes(bytes, {.salvage = salvage});
          REQUIRE((result.image.has_value() != !result.error.empty()));
          if (!salvage) REQUIRE(!result.diagnostics->lost());
        }
      }
    }
  }
}

TEST_CASE("damage: each failing read ends with its error") {
  const Sample whole = sample(true);
  const auto memory = std::make_shared<MemorySource>("input", whole.bytes);
  for (std::uint64_t n = 1;; ++n) {
    CAPTURE(n);
    const auto source = std::make_shared<ThrowingSource>(memory, n);
    const ReadResult result = read_source(source, {.salvage = n % 2 == 0});
    if (!source->failed()) {
      CHECK(result.error == "");
      CHECK(n > 5);
      break;
    }
    REQUIRE(result.kind == ErrorKind::io);
    REQUIRE(result.error.ends_with("read: Input/output error"));
  }
}

TEST_CASE("damage: records that repeat a page in any order keep the last") {
  std::uint64_t state = 1;
  const auto below = [&](std::uint64_t n) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    return (state >> 33) % n;
  };
  std::vector<std::uint64_t> last(32, 0);
  QevmBuilder stream = pc().ram_start({{"pc.ram", 32 * 4096, {}}});
  for (int part = 0; part < 40; ++part) {
    RamPayload payload;
    for (int i = 0; i < 10; ++i) {
      const std::uint64_t page = below(32);
      if (below(3) == 0) {
        payload.zero("pc.ram", page * 4096);
        last[page] = 0;
      } else {
        last[page] = 1000 + below(100);
        payload.page("pc.ram", page * 4096, last[page]);
      }
    }
    stream.ram_part(payload.eos());
  }
  const ReadResult result = read_bytes(stream.ram_end().eos().bytes());
  REQUIRE(result.error == "");
  for (std::uint64_t i = 0; i < last.size(); ++i) {
    CAPTURE(i);
    CHECK((last[i] == 0 ? is_filled(*result.image, i * 4096, 0)
                        : is_page(*result.image, i * 4096, last[i])));
  }
}

}  // namespace
}  // namespace vmconvert::test
