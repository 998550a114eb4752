#include <algorithm>

#include "support/device_payloads.h"
#include "support/encoded_ram.h"
#include "support/libvirt_builder.h"
#include "support/pc_stream.h"
#include "support/reading.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

constexpr std::uint64_t kPages = 200;

/// Small enough to try each byte of.
MappedRamFile file_of(std::vector<MappedPage> content) {
  MappedRamFile file;
  file.blocks = {{"pc.ram", kPages, std::move(content)},
                 {"vga.vram", 16, {{.index = 3, .number = 1}}}};
  file.alignment = 4096;
  return file;
}

/// Where the first block's mapped-ram header begins.
constexpr std::uint64_t kHeader = 8 + 1 + 4 + 11 + 1 + 1 + 26 + 4 + 4 + 11 + 17 + 8 + 7 + 8;

TEST_CASE("mapped-ram: pages whose bits are set are those in the file, the others are zero") {
  MappedRamFile file = file_of({{.index = 0, .number = 10},
                                {.index = 1, .number = 11},
                                {.index = 2, .number = 12, .stale = true},
                                {.index = 63, .number = 63},
                                {.index = 64, .number = 64},
                                {.index = 130, .number = 130},
                                {.index = 199, .number = 199}});
  file.alignment = 0x100000;
  const ReadResult result = read_bytes(file.bytes());
  REQUIRE(result.error == "");
  CHECK(
      result.has_decision("mapped-ram: 7 pages of 216 in the file, bitmaps of a little-endian "
                          "host"));
  CHECK(result.image->runs.extents() ==
        std::vector{guest_range(0, 0xa0000), guest_range(0xc0000, kPages * 4096)});
  CHECK(are_pages(*result.image, 0, 10, 2));
  CHECK(is_filled(*result.image, 0x2000, 0));
  CHECK(are_pages(*result.image, 63 * 4096, 63, 2));
  CHECK(is_page(*result.image, 130 * 4096, 130));
  CHECK(is_filled(*result.image, 198 * 4096, 0));
  CHECK(is_page(*result.image, 199 * 4096, 199));
}

TEST_CASE("mapped-ram: full words are one run") {
  std::vector<MappedPage> content;
  for (std::uint64_t i = 3; i < 150; ++i) content.push_back({.index = i, .number = i});
  const ReadResult result = read_bytes(file_of(content).bytes());
  REQUIRE(result.error == "");
  CHECK(are_pages(*result.image, 3 * 4096, 3, 147));
  CHECK(result.image->runs.runs().size() == 4);
}

TEST_CASE("mapped-ram: a header as bytes is where the tests think it is") {
  const Bytes bytes = file_of({{.index = 0, .number = 1}}).bytes();
  const auto at = [&](std::uint64_t offset, std::size_t size) {
    const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(offset);
    return Bytes(begin, begin + static_cast<std::ptrdiff_t>(size));
  };
  CHECK(at(kHeader, 36) ==
        ByteWriter().be32(1).be64(4096).be64(kHeader + 28).be64(0x1000).le64(1).bytes());
}

TEST_CASE("mapped-ram: offsets count from the beginning of the file") {
  MappedRamFile file = file_of({{.index = 5, .number = 5}});
  file.prefix = Bytes(0x1234, std::byte{0x20});
  const ReadResult offset = read_bytes(file.bytes());
  REQUIRE(offset.error == "");
  CHECK(is_page(*offset.image, 5 * 4096, 5));

  LibvirtSave save{.format = 6};
  file.prefix = save.bytes();
  const ReadResult sparse = read_bytes(file.bytes());
  REQUIRE(sparse.error == "");
  CHECK(sparse.has_decision("libvirt domain \"guest\""));
  CHECK(is_page(*sparse.image, 5 * 4096, 5));
}

TEST_CASE("mapped-ram: a file that was cut at its front is refused") {
  MappedRamFile file = file_of({{.index = 5, .number = 5}});
  file.shift = 0x200;
  CHECK(read_bytes(file.bytes()).error ==
        "input: offset " + hex(kHeader + 12) + ": mapped-ram bitmap offset " +
            hex(kHeader + 28 + 0x200) + " is not where the bitmap lies, " + hex(kHeader + 28) +
            ": the file does not begin where it began when QEMU wrote it");
}

TEST_CASE("mapped-ram: headers that are impossible are refused") {
  const MappedRamFile good = file_of({{.index = 5, .number = 5}});
  MappedRamFile file = good;
  file.header_version = 2;
  CHECK(read_bytes(file.bytes()).error ==
        "input: offset " + hex(kHeader) + ": mapped-ram version 2 is not supported; only 1 is");
  CHECK(read_bytes(file.bytes()).kind == ErrorKind::unsupported);
  file = good;
  file.header_page_size = 0x10000;
  CHECK(read_bytes(file.bytes()).error == "input: offset " + hex(kHeader + 4) +
                                              ": mapped-ram page size 0x10000 is not that of the "
                                              "stream, 0x1000");
  file = good;
  for (const std::uint64_t offset : {std::uint64_t{1}, kHeader + 28 + 31, ~std::uint64_t{0} - 10}) {
    file.pages_offset = offset;
    CHECK(read_bytes(file.bytes()).error == "input: offset " + hex(kHeader + 20) +
                                                ": mapped-ram pages offset " + hex(offset) +
                                                " is impossible");
  }
  file.pages_offset = 0x10000000;
  const ReadResult far = read_bytes(file.bytes());
  CHECK(far.kind == ErrorKind::corrupt);
  CHECK(far.error == "input: offset " + hex(file.bytes().size()) +
                         ": mapped-ram pages is cut off: 819200 bytes wanted, 0 left");
}

TEST_CASE("mapped-ram: bits that stand for no page are damage") {
  MappedRamFile file;
  file.blocks = {{"pc.ram", 65, {{.index = 0, .number = 1}}}};
  file.surplus = 2;
  for (const bool salvage : {false, true}) {
    const ReadResult result = read_bytes(file.bytes(), {.salvage = salvage});
    CHECK(result.kind == ErrorKind::corrupt);
    CHECK(result.error == "input: offset " + hex(kHeader + 28 + 8) +
                              ": mapped-ram bitmap has bits beyond the end of its block");
  }
}

TEST_CASE("mapped-ram: page records have no place in it") {
  MappedRamFile file = file_of({});
  for (const std::uint64_t word : {0x08U, 0x02U, 0x28U, 0x40U, 0x100U}) {
    file.part = RamPayload().raw(word, Bytes(5000)).eos();
    CHECK(read_bytes(file.bytes())
              .error.ends_with(": RAM record holds a page, which mapped-ram has elsewhere"));
  }
}

TEST_CASE("mapped-ram: the byte order of the host is told by a block's last word") {
  MappedRamFile file = file_of({{.index = 9, .number = 9}, {.index = 199, .number = 7}});
  file.big_endian_host = true;
  const ReadResult result = read_bytes(file.bytes());
  REQUIRE(result.error == "");
  CHECK(result.has_decision("bitmaps of a big-endian host"));
  CHECK(is_page(*result.image, 9 * 4096, 9));
  CHECK(is_page(*result.image, 199 * 4096, 7));
  CHECK(is_filled(*result.image, 49 * 4096, 0));
}

TEST_CASE("mapped-ram: else by pages that are zero in the file") {
  for (const bool big : {false, true}) {
    CAPTURE(big);
    MappedRamFile file;
    file.blocks = {{"pc.ram", 128, {{.index = 1, .number = 1}, {.index = 70, .number = 2}}}};
    file.big_endian_host = big;
    file.alignment = 4096;
    const ReadResult result = read_bytes(file.bytes());
    REQUIRE(result.error == "");
    CHECK(result.has_decision(big ? "big-endian host" : "little-endian host"));
    CHECK(is_page(*result.image, 4096, 1));
    CHECK(is_page(*result.image, 70 * 4096, 2));
  }
}

TEST_CASE("mapped-ram: a block whose content is elsewhere is refused") {
  MappedRamFile file = file_of({});
  file.ignore_shared = true;
  const ReadResult result = read_bytes(file.bytes());
  CHECK(result.kind == ErrorKind::unsupported);
  CHECK(
      result.error.starts_with("input: the content of memory block \"pc.ram\" is not in the "
                               "stream but in the shared file"));
  file.blocks[0].content = {{.index = 4, .number = 4}};
  const ReadResult present = read_bytes(file.bytes());
  REQUIRE(present.error == "");
  CHECK(is_page(*present.image, 4 * 4096, 4));
}

TEST_CASE("mapped-ram: a file cut anywhere is refused, and salvage keeps true pages only") {
  const Bytes whole = file_of({{.index = 1, .number = 1}, {.index = 150, .number = 150}}).bytes();
  REQUIRE(read_bytes(whole).error == "");
  for (std::size_t size = 0; size < whole.size(); size += size < kHeader + 100 ? 1 : 1021) {
    CAPTURE(size);
    const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    REQUIRE(read_bytes(cut).error != "");
    const ReadResult result = read_bytes(cut, {.salvage = true});
    if (!result.image) continue;
    REQUIRE(result.diagnostics->lost());
    Bytes page(4096);
    // Whether the others are zero is not known: QEMU writes the bitmap when all else is done.
    for (const std::uint64_t i : {0U, 1U, 2U, 150U, 151U}) {
      if (!read_guest(*result.image, {i * 4096}, page)) continue;
      REQUIRE((i == 1 || i == 150));
      REQUIRE(page == page_of(i));
    }
    if (size > 0x1000 + 2 * 4096) CHECK(is_page(*result.image, 4096, 1));
  }
}

TEST_CASE("mapped-ram: a flipped byte is an error or an image that keeps its promises") {
  const Bytes whole = file_of({{.index = 1, .number = 1}, {.index = 150, .number = 150}}).bytes();
  for (std::size_t at = 0; at < whole.size(); at += at < kHeader + 100 ? 1 : 509) {
    for (const unsigned pattern : {0x01U, 0x80U, 0xffU}) {
      CAPTURE(at);
      Bytes bytes = whole;
      bytes[at] ^= static_cast<std::byte>(pattern);
      for (const bool salvage : {false, true}) {
        const ReadResult result = read_bytes(bytes, {.salvage = salvage});
        REQUIRE((result.image.has_value() != !result.error.empty()));
      }
    }
  }
}

}  // namespace
}  // namespace vmconvert::test
