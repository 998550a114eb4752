#include "support/elf_builder.h"
#include "support/image_bytes.h"
#include "support/kdump_builder.h"
#include "support/qevm_builder.h"
#include "support/reading.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

/// A page that compresses.
Bytes easy_page(std::uint64_t number, std::size_t size = 4096) {
  const Bytes seed = page_of(number, 64);
  Bytes page(size);
  for (std::size_t i = 0; i < size; ++i) page[i] = seed[i % seed.size()];
  return page;
}

Kdump small(unsigned flags = kZlib, unsigned block = 4096) {
  Kdump dump{.block_size = block};
  for (const std::uint64_t pfn : {1U, 2U, 3U, 9U, 4000U}) {
    dump.pages[pfn] = {easy_page(pfn, block), flags};
  }
  dump.notes = elf_note("CORE", 1, Bytes(336));
  return dump;
}

bool is_page(const GuestImage& image, std::uint64_t pfn, std::size_t block = 4096) {
  return guest_bytes(image, pfn * block, block) == easy_page(pfn, block);
}

TEST_CASE("kdump: pages of every codec and block size") {
  for (const unsigned flags : {kStored, kZlib, kLzo, kSnappy, kZstd}) {
    for (const unsigned block : {4096U, 16384U, 65536U}) {
      CAPTURE(flags);
      CAPTURE(block);
      const ReadResult result = read_bytes(small(flags, block).bytes());
      REQUIRE(result.error == "");
      const std::uint64_t b = block;
      CHECK(result.image->runs.extents() == std::vector{guest_range(b, 4 * b),
                                                        guest_range(9 * b, 10 * b),
                                                        guest_range(4000 * b, 4001 * b)});
      for (const std::uint64_t pfn : {1U, 2U, 3U, 9U, 4000U})
        CHECK(is_page(*result.image, pfn, block));
    }
  }
}

TEST_CASE("kdump: a dump may mix codecs") {
  Kdump dump = small();
  dump.pages[1].flags = kLzo;
  dump.pages[2].flags = kStored;
  const ReadResult result = read_bytes(dump.bytes());
  REQUIRE(result.error == "");
  for (const std::uint64_t pfn : {1U, 2U, 3U}) CHECK(is_page(*result.image, pfn));
  CHECK(result.has_decision("kdump version 6, dump level 1, 5 pages, compression zlib, lzo"));
}

TEST_CASE("kdump: every version, width and byte order") {
  for (const bool big : {false, true}) {
    for (unsigned version = 1; version <= 6; ++version) {
      CAPTURE(version);
      Kdump dump = small();
      dump.big = big;
      dump.version = version;
      dump.machine = big ? "s390x" : "x86_64";
      dump.notes = elf_note("CORE", 1, Bytes(336), big);
      dump.vmcoreinfo = "OSRELEASE=5.10\n";
      const ReadResult result = read_bytes(dump.bytes());
      REQUIRE(result.error == "");
      CHECK(result.image->arch == (big ? Arch::s390x : Arch::x86_64));
      CHECK(is_page(*result.image, 4000));
      // Which note areas there are depends on the version.
      CHECK(result.image->vmcoreinfo.has_value() == (version >= 3));
      CHECK(result.image->notes.size() == (version >= 4 ? 2U : version == 3 ? 1U : 0U));
    }
  }
  Kdump narrow = small();
  narrow.is_64 = false;
  narrow.machine = "i686";
  narrow.notes = elf_note("CORE", 1, Bytes(144));
  const ReadResult result = read_bytes(narrow.bytes());
  REQUIRE(result.error == "");
  CHECK(result.image->arch == Arch::i386);
  CHECK(result.image->notes.size() == 1);
  CHECK(is_page(*result.image, 9));
}

TEST_CASE("kdump: the machine comes from the header, the notes or the user") {
  struct Row {
    const char* machine;
    std::size_t prstatus;
    bool big;
    const char* name;
  };
  for (const Row& row : {Row{"x86_64", 1, false, "x86_64"}, Row{"S390X", 1, true, "s390x"},
                         Row{"Unknown", 336, false, "x86_64"}, Row{"Unknown", 336, true, "s390x"},
                         Row{"Unknown", 392, false, "aarch64"}, Row{"", 504, true, "ppc64"},
                         Row{"", 504, false, "ppc64le"}, Row{"", 376, false, "riscv64"},
                         Row{"Unknown", 144, false, "i386"}, Row{"ppc64le", 504, true, "ppc64"}}) {
    CAPTURE(row.name);
    Kdump dump = small();
    dump.machine = row.machine;
    dump.big = row.big;
    dump.notes = elf_note("CORE", 1, Bytes(row.prstatus), row.big);
    const ReadResult result = read_bytes(dump.bytes());
    REQUIRE(result.error == "");
    CHECK(result.has_decision("guest of " + std::string(row.name) + " (from "));
  }
  Kdump dump = small();
  dump.machine = "Unknown";
  dump.notes.clear();
  CHECK(read_bytes(dump.bytes()).error ==
        "input: offset 0xc: machine \"Unknown\" is not supported, and no note tells more (give "
        "--arch)");
  ReadResult result = read_bytes(dump.bytes(), {.machine = machine_by_name("riscv64")});
  CHECK(result.has_decision("guest of riscv64 (from --arch)"));
  dump.machine = "s390x";  // but its fields are little-endian
  CHECK(read_bytes(dump.bytes()).error == "input: offset 0xc: machine \"s390x\" is not supported");
}

TEST_CASE("kdump: facts") {
  Kdump dump = small(kSnappy);
  dump.release = "6.1.0-test";
  const ReadResult result = read_bytes(dump.bytes());
  std::string facts;
  for (const Fact& fact : result.image->metadata.facts) facts += fact.key + "=" + fact.value + " ";
  CHECK(facts ==
        "dump.vcpus=1 dump.format=kdump version 6 dump.flattened=no dump.compression=snappy "
        "dump.level=1 dump.page-size=4096 dump.pages=5 dump.excluded-pages=0 "
        "dump.release=6.1.0-test ");
}

TEST_CASE("kdump: zero pages share one place and cost no read") {
  Kdump dump = small();
  for (const std::uint64_t pfn : {4U, 5U, 8U}) dump.pages[pfn] = {Bytes(4096), kStored, true};
  const ReadResult result = read_bytes(dump.bytes());
  REQUIRE(result.error == "");
  const auto runs = result.image->runs.runs();
  REQUIRE(runs.size() == 5);
  CHECK(runs[1] == Run{guest_range(0x4000, 0x6000), Filled{}});
  CHECK(runs[2] == Run{guest_range(0x8000, 0x9000), Filled{}});
  CHECK(guest_bytes(*result.image, 0x5000, 4096) == Bytes(4096));
  // Reading over them, as the copy engine does where they are few, gives them as well.
  Bytes all(4096 * 8);
  result.image->sources[0]->read_at({0}, all);
  const Bytes page = easy_page(3);
  CHECK(std::equal(page.begin(), page.end(), all.begin() + 2 * 4096));
  CHECK(Bytes(all.begin() + 3 * 4096, all.begin() + 6 * 4096) == Bytes(3 * 4096));
}

TEST_CASE("kdump: a place that pages share and that is not zero is data") {
  Kdump dump = small();
  for (const std::uint64_t pfn : {4U, 5U}) dump.pages[pfn] = {{}, kStored, true};
  dump.pages[4].content = dump.pages[5].content = easy_page(77);
  Bytes bytes = dump.bytes();
  const Bytes page = easy_page(77);
  std::copy(page.begin(), page.end(), bytes.begin() + static_cast<std::ptrdiff_t>(dump.data_at()));
  const ReadResult result = read_bytes(std::move(bytes));
  REQUIRE(result.error == "");
  CHECK(guest_bytes(*result.image, 0x4000, 4096) == page);
  CHECK(guest_bytes(*result.image, 0x5000, 4096) == page);
}

TEST_CASE("kdump: any part of any page can be read") {
  const ReadResult result = read_bytes(small(kLzo).bytes());
  Bytes expected;
  for (const std::uint64_t pfn : {1U, 2U, 3U, 9U, 4000U}) {
    const Bytes page = easy_page(pfn);
    expected.insert(expected.end(), page.begin(), page.end());
  }
  const ByteSource& pages = *result.image->sources[0];
  CHECK(pages.size() == expected.size());
  for (std::uint64_t begin = 0; begin < expected.size(); begin += 511) {
    for (const std::uint64_t size : {1U, 100U, 4096U, 9000U}) {
      const std::uint64_t n = std::min<std::uint64_t>(size, expected.size() - begin);
      Bytes part(n);
      pages.read_at({begin}, part);
      const auto first = expected.begin() + static_cast<std::ptrdiff_t>(begin);
      REQUIRE(part == Bytes(first, first + static_cast<std::ptrdiff_t>(n)));
    }
  }
  Bytes beyond(2);
  CHECK(error_of([&] { pages.read_at({expected.size() - 1}, beyond); }) ==
        "input: read: past the last page");
}

TEST_CASE("kdump: excluded pages are not zero, unless nothing else was excluded") {
  Kdump dump = small();
  dump.excluded = {4, 5, 100};
  dump.level = 31;
  ReadResult result = read_bytes(dump.bytes());
  REQUIRE(result.error == "");
  CHECK(result.image->runs.extents().size() == 3);
  CHECK(result.diagnostics->of(Diagnostics::Level::warning) ==
        std::vector<std::string>{"input: 3 pages (12 KiB) of the guest were excluded from the dump "
                                 "at level 31 and are not "
                                 "in the output; where a raw image shows zeros for them, the guest "
                                 "may have had anything"});
  dump.level = 1;
  result = read_bytes(dump.bytes());
  CHECK(result.image->runs.extents() ==
        std::vector{guest_range(0x1000, 0x6000), guest_range(0x9000, 0xa000),
                    guest_range(0x64000, 0x65000), guest_range(0xfa0000, 0xfa1000)});
  CHECK(guest_bytes(*result.image, 0x64000, 4096) == Bytes(4096));
  CHECK(
      result.has_decision("3 pages (12 KiB) of the guest were excluded from the dump at level 1: "
                          "they are zero"));
}

TEST_CASE("kdump: headers that cannot be are refused") {
  const auto error_with = [](std::size_t at, std::string_view hex_bytes) {
    Bytes bytes = small().bytes();
    const Bytes patch = from_hex(hex_bytes);
    std::copy(patch.begin(), patch.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
    return read_bytes(std::move(bytes)).error;
  };
  CHECK(error_with(428, "00 08 00 00") ==
        "input: offset 0x1ac: block_size is none that pages have, in no byte order and width");
  CHECK(error_with(8, "00") == "input: offset 0x8: header_version 0 is not known (1 to 6 are)");
  CHECK(error_with(8, "07") == "input: offset 0x8: header_version 7 is not known (1 to 6 are)");
  CHECK(error_with(432, "00") == "input: offset 0x1b0: sub_hdr_size is 0");
  CHECK(error_with(432, "01 00 01") == "input: offset 0x1b0: sub_hdr_size is 65537");
  CHECK(error_with(436, "03") ==
        "input: offset 0x1b4: bitmap_blocks is odd, but there are two bitmaps");
  CHECK(error_with(436, "00 01") ==
        "input: offset 0x1b4: bitmap_blocks is 256, more than the dump holds");
  CHECK(error_with(4096 + 96, "01 00 20") ==
        "input: offset 0x1b4: bitmap_blocks is 2, too small for 2097153 pages");
  CHECK(error_with(4096 + 102, "01") ==
        "input: offset 0x1060: max_mapnr_64 is 0x1000000000fa1, more than any guest has");
  CHECK(error_with(4096 + 12, "01") ==
        "input: offset 0x100c: split says that this is one part of a split dump; join all parts "
        "with makedumpfile --reassemble");
  CHECK(error_with(4096 + 56, "00 00 01") ==
        "input: offset 0x1038: size of notes is 65536 at 0x1068, more than the dump holds");
  CHECK(error_with(0, "44 49 53 4b 44 55 4d 50") ==
        "input: offset 0x0: is a diskdump of Linux 2.4 or 2.6, which is not supported");
}

TEST_CASE("kdump: an incomplete dump is refused, and salvaged") {
  Kdump dump = small();
  dump.status = 9;
  CHECK(read_bytes(dump.bytes()).error == "input: the dump says itself that it is incomplete");
  const ReadResult result = read_bytes(dump.bytes(), {.salvage = true});
  CHECK(result.has_loss("input: the dump says itself that it is incomplete"));
  CHECK(is_page(*result.image, 9));
}

TEST_CASE("kdump: descriptors that cannot be are refused") {
  const Kdump dump = small();
  const std::uint64_t at = dump.descriptors_at();
  const auto error_with = [&](std::size_t inside, std::string_view hex_bytes) {
    Bytes bytes = dump.bytes();
    const Bytes patch = from_hex(hex_bytes);
    std::copy(patch.begin(), patch.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at + inside));
    return read_bytes(std::move(bytes)).error;
  };
  const std::string place = "input: offset " + hex(at);
  CHECK(error_with(0, "00 00 00 00") ==
        place + ": data of a page is said to lie at 0x0, outside of the dump's data");
  CHECK(error_with(4, "01") == place + ": data of a page is said to lie at " +
                                   hex(0x100000000 + dump.data_at() + 4096) +
                                   ", outside of the dump's data");
  CHECK(error_with(8, "00 00") == "input: offset " + hex(at + 8) + ": size of a page's data is 0");
  CHECK(error_with(12, "00") == "input: offset " + hex(at + 8) +
                                    ": size of a page's data is 111 although it is not compressed");
  CHECK(error_with(12, "08") == "input: offset " + hex(at + 12) +
                                    ": flags of a page are 0x8, a compression that is not known");
  Bytes cut = dump.bytes();
  cut.resize(at + 24 * 5 - 1);
  CHECK(read_bytes(std::move(cut)).error ==
        place + ": page descriptors are cut off: 5 wanted, 4 left");
}

TEST_CASE("kdump: a damaged page is told by its place, and salvage leaves it out") {
  const Kdump dump = small();
  Bytes bytes = dump.bytes();
  const std::uint64_t data = dump.data_at() + 4096;  // of the first page
  bytes[data + 5] ^= std::byte{0xff};
  bytes[dump.descriptors_at() + 3 * 24 + 12] = std::byte{0x40};
  // Of the page with an unknown codec the message comes at once.
  CHECK(read_bytes(bytes).error ==
        "input: offset " + hex(dump.descriptors_at() + 3 * 24 + 12) +
            ": flags of a page are 0x40, a compression that is not known");
  ReadResult result = read_bytes(bytes, {.salvage = true});
  REQUIRE(result.error == "");
  CHECK(result.image->runs.extents() ==
        std::vector{guest_range(0x2000, 0x4000), guest_range(0xfa0000, 0xfa1000)});
  CHECK(result.diagnostics->of(Diagnostics::Level::loss) ==
        std::vector{"input: offset " + hex(data) +
                    ": page: zlib data is damaged; 8 KiB of guest memory left out: 0x1000-0x2000 "
                    "0x9000-0xa000"});
  Bytes all(5 * 4096);
  result.image->sources[0]->read_at({0}, all);  // as a copy that reads over what was dropped
  bytes[dump.descriptors_at() + 3 * 24 + 12] = std::byte{1};
  result = read_bytes(bytes);
  REQUIRE(result.error == "");
  CHECK(error_of([&] { guest_bytes(*result.image, 0x1000, 4096); }) ==
        "input: offset " + hex(data) + ": page: zlib data is damaged");
  CHECK(is_page(*result.image, 2));
}

TEST_CASE("kdump: salvage drops notes that are damaged") {
  Kdump dump = small();
  dump.notes[4] = std::byte{0xff};
  CHECK(read_bytes(dump.bytes()).error.ends_with("bytes wanted, 336 left"));
  const ReadResult result = read_bytes(dump.bytes(), {.salvage = true});
  CHECK(result.has_loss("; all notes are lost"));
  CHECK(is_page(*result.image, 1));
}

// --- flattened ----------------------------------------------------------------------------------

TEST_CASE("kdump: a flattened dump in records of any size and order") {
  const Bytes plain = small().bytes();
  for (const std::size_t record : {7U, 512U, 4096U, 100'000U}) {
    CAPTURE(record);
    const ReadResult result = read_bytes(flattened(plain, record));
    REQUIRE(result.error == "");
    for (const std::uint64_t pfn : {1U, 2U, 3U, 9U, 4000U}) CHECK(is_page(*result.image, pfn));
    CHECK(result.image->metadata.facts[2].value == "yes");
    CHECK(result.has_decision("input: flattened dump, "));
  }
}

TEST_CASE("kdump: of flattened records that overlap the last one holds") {
  const Bytes plain = small().bytes();
  ByteWriter out;
  out.append(flat_head());
  out.append(flat_record(0, Bytes(plain.size() - 7, std::byte{0xee})));
  out.append(flat_record(0, std::span(plain).first(10'000)));
  out.append(flat_record(5000, std::span(plain).subspan(5000)));
  out.append(flat_record(4096, std::span(plain).subspan(4096, 3000)));
  const Bytes end = flat_record(~std::uint64_t{0}, {});
  ReadResult result = read_bytes(ByteWriter()
                                     .append(out.bytes())
                                     .be64(~std::uint64_t{0})
                                     .be64(~std::uint64_t{0})
                                     .fill(50)
                                     .bytes());
  REQUIRE(result.error == "");
  for (const std::uint64_t pfn : {1U, 2U, 3U, 9U, 4000U}) CHECK(is_page(*result.image, pfn));
}

TEST_CASE("kdump: what a flattened dump steps over is zero in headers and missing in data") {
  const Kdump dump = small(kStored);
  const Bytes plain = dump.bytes();
  const auto part = [&](std::size_t begin, std::size_t end) {
    return flat_record(begin, std::span(plain).subspan(begin, end - begin));
  };
  const std::size_t bitmap = dump.bitmap_at(), data = dump.data_at();
  ByteWriter out;
  out.append(flat_head()).append(part(0, 464)).append(part(4096, 4096 + 104 + dump.notes.size()));
  out.append(part(bitmap, data + 4096)).append(part(data + 8192, plain.size()));
  out.be64(~std::uint64_t{0}).be64(~std::uint64_t{0});
  ReadResult result = read_bytes(out.bytes());
  REQUIRE(result.error == "");
  CHECK(is_page(*result.image, 2));
  CHECK(error_of([&] { guest_bytes(*result.image, 0x1000, 4096); }) ==
        "input (rearranged): offset " + hex(data + 4096) +
            ": no record of the flattened dump holds this");
  result = read_bytes(out.bytes(), {.salvage = true});
  CHECK(
      result.has_loss("no record of the flattened dump holds this; 4 KiB of guest memory left "
                      "out: 0x1000-0x2000"));
}

TEST_CASE("kdump: flattened dumps that cannot be are refused") {
  const Bytes plain = small().bytes();
  const auto error_with = [&](const Bytes& records) {
    return read_bytes(ByteWriter().append(flat_head()).append(records).bytes()).error;
  };
  CHECK(error_with({}) == "input: offset 0x1000: record offset is cut off: 8 bytes wanted, 0 left");
  CHECK(error_with(ByteWriter().be64(0).be64(100).fill(99).bytes()) ==
        "input: offset 0x1010: record is cut off: 100 bytes wanted, 99 left");
  CHECK(error_with(ByteWriter().be64(std::uint64_t{1} << 63).be64(0).bytes()) ==
        "input: offset 0x1008: record size is 0x0 at offset 0x8000000000000000, which no file can "
        "hold");
  CHECK(error_with(ByteWriter().be64(5).be64(std::uint64_t{1} << 62).bytes()) ==
        "input: offset 0x1008: record size is 0x4000000000000000 at offset 0x5, which no file can "
        "hold");
  Bytes bytes = flattened(plain);
  bytes[23] = std::byte{2};
  CHECK(read_bytes(bytes).error == "input: offset 0x10: type of flattened dump 2 is not known");
  bytes[23] = std::byte{1};
  bytes[31] = std::byte{2};
  CHECK(read_bytes(bytes).error == "input: offset 0x18: version of flattened dump 2 is not known");
  CHECK(read_bytes(flattened(from_hex("7f 45 4c 46 02 01 01 00 00"))).error ==
        "input (rearranged): offset 0x0: is a flattened ELF dump; make a plain one of it with "
        "makedumpfile -R");
  CHECK(read_bytes(flattened(Bytes(20))).error ==
        "input (rearranged): offset 0x0: signature is not \"KDUMP   \"");
  Bytes cut = flattened(plain, 4096);
  cut.erase(cut.end() - 16, cut.end());
  const ReadResult result = read_bytes(cut, {.salvage = true});
  CHECK(result.has_loss("record offset is cut off: 8 bytes wanted, 0 left; what follows is lost"));
  CHECK(is_page(*result.image, 4000));
}

}  // namespace
}  // namespace vmconvert::test
