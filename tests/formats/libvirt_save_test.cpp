#include "support/compress.h"
#include "support/libvirt_builder.h"
#include "support/pc_stream.h"
#include "support/reading.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

Bytes stream() { return small_pc().device("timer", Bytes(24)).eos().description().bytes(); }

void check_small_pc(const ReadResult& result) {
  REQUIRE(result.error == "");
  CHECK(result.image->runs.extents() == std::vector{guest_range(0, 0x10000)});
  CHECK(are_pages(*result.image, 0, 0, 16));
}

TEST_CASE("libvirt: a header given as bytes is followed by the stream") {
  Bytes bytes = from_hex(
      "4c 69 62 76 69 72 74 51 65 6d 75 64 53 61 76 65"  // LibvirtQemudSave
      "02 00 00 00 0a 00 00 00 01 00 00 00 00 00 00 00"  // version, data_len, running, format
      "00 00 00 00");                                    // cookieOffset
  bytes.resize(92);
  const Bytes xml = ByteWriter().text("<domain/>").u8(0).bytes();
  bytes.insert(bytes.end(), xml.begin(), xml.end());
  CHECK(LibvirtSave{.xml = "<domain/>", .padding = 0}.bytes() == bytes);
  const Bytes guest = stream();
  bytes.insert(bytes.end(), guest.begin(), guest.end());
  check_small_pc(read_bytes(bytes));
}

TEST_CASE("libvirt: both versions and both byte orders are read") {
  for (const std::uint32_t version : {1U, 2U}) {
    for (const bool big : {false, true}) {
      CAPTURE(version);
      CAPTURE(big);
      check_small_pc(read_bytes(
          LibvirtSave{.version = version, .big_endian = big, .stream = stream()}.bytes()));
    }
  }
}

TEST_CASE("libvirt: cookie and padding in front of the stream do not matter") {
  const ReadResult result =
      read_bytes(LibvirtSave{.cookie = "<cookie/>", .padding = 65536, .stream = stream()}.bytes());
  check_small_pc(result);
  CHECK(result.has_decision("libvirt domain \"guest\""));
}

TEST_CASE("libvirt: every compression format is unpacked") {
  constexpr Codec kByNumber[] = {Codec::gzip, Codec::bzip2, Codec::xz, Codec::lzop, Codec::zstd};
  std::uint32_t number = 0;
  for (const Codec codec : kByNumber) {
    ++number;
    CAPTURE(number);
    const ReadResult result =
        read_bytes(LibvirtSave{.format = number, .stream = compress(codec, stream())}.bytes());
    check_small_pc(result);
    CHECK(result.has_decision(std::string(codec_name(codec)) +
                              " data, unpacked to a temporary file"));
  }
}

TEST_CASE("libvirt: version 1 has no format") {
  check_small_pc(read_bytes(LibvirtSave{.version = 1, .format = 3, .stream = stream()}.bytes()));
}

TEST_CASE("libvirt: compressed data of another codec is damaged") {
  const ReadResult result =
      read_bytes(LibvirtSave{.format = 1, .stream = compress(Codec::xz, stream())}.bytes());
  CHECK(result.error ==
        "input: gzip data: the stream is damaged (--salvage converts what comes before)");
}

TEST_CASE("libvirt: salvage keeps what a cut compressed stream holds") {
  const QevmBuilder large = small_pc(300).eos();
  Bytes packed = compress(Codec::gzip, large.bytes());
  packed.resize(packed.size() / 2);
  const Bytes bytes = LibvirtSave{.format = 1, .stream = packed}.bytes();
  CHECK(read_bytes(bytes).error ==
        "input: gzip data: the stream ends early (--salvage converts what comes before)");
  const ReadResult result = read_bytes(bytes, {.salvage = true});
  REQUIRE(result.error == "");
  CHECK(result.has_loss("gzip data: the stream ends early"));
  CHECK(are_pages(*result.image, 0, 0, 100));
}

TEST_CASE("libvirt: a header that is impossible is refused") {
  const auto error = [](LibvirtSave save) {
    save.stream = stream();
    return read_bytes(save.bytes()).error;
  };
  CHECK(error({.version = 0}) == "input: offset 0x10: version 0 is unknown");
  CHECK(error({.version = 3}) == "input: offset 0x10: version 50331648 is unknown");
  CHECK(error({.version = 3, .big_endian = true}) == "input: offset 0x10: version 3 is unknown");
  CHECK(error({.format = 7}) == "input: offset 0x1c: format 7 is unknown");
  CHECK(error({.format = 0xffffffff}) == "input: offset 0x1c: format 4294967295 is unknown");
  CHECK(error({.data_len_excess = 10'000'000}) ==
        "input: offset 0x14: data_len is more than the file holds");
  CHECK(error({.cookie = "<c/>", .cookie_offset = 1000}) ==
        "input: offset 0x20: cookieOffset lies outside the data");
}

TEST_CASE("libvirt: a header cut anywhere is refused") {
  const Bytes whole = LibvirtSave{.stream = {}}.bytes();
  for (std::size_t size = 16; size < 92; ++size) {
    CAPTURE(size);
    CHECK(read_bytes({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)}).error ==
          "input: offset " + hex(size) + ": the libvirt save header is cut off");
  }
  CHECK(read_bytes({whole.begin(), whole.end() - 1}).error ==
        "input: offset 0x14: data_len is more than the file holds");
  CHECK(read_bytes(whole).error ==
        "input: offset " + hex(whole.size()) + ": magic is cut off: 4 bytes wanted, 0 left");
}

TEST_CASE("libvirt: a save that was not finished needs salvage") {
  QevmBuilder cut = pc().ram_start({{"pc.ram", 0x10000, {}}});
  cut.ram_part(RamPayload().pages("pc.ram", 0, 0, 10).eos());
  const Bytes bytes = LibvirtSave{.magic = "LibvirtQemudPart", .stream = cut.bytes()}.bytes();
  const ReadResult refused = read_bytes(bytes);
  CHECK(refused.kind == ErrorKind::corrupt);
  CHECK(refused.error ==
        "input: offset 0x0: is marked \"LibvirtQemudPart\": libvirt did not finish "
        "this save (--salvage converts what is there)");
  const ReadResult salvaged = read_bytes(bytes, {.salvage = true});
  REQUIRE(salvaged.error == "");
  CHECK(salvaged.has_loss(
      "offset 0x0: is marked \"LibvirtQemudPart\": libvirt did not finish this save"));
  CHECK(are_pages(*salvaged.image, 0, 0, 10));
}

/// A guest with a DIMM whose backend has this name.
ReadResult read_with_dimm(const std::string& block, const std::string& xml,
                          const ReadOptions& options = {}) {
  QevmBuilder guest = pc().ram_start({{block, 2 * kMiB, {}}, {"pc.ram", 2 * kMiB, {}}});
  guest.ram_end(RamPayload().page(block, 0, 77).eos()).eos();
  return read_bytes(LibvirtSave{.xml = xml, .stream = guest.bytes()}.bytes(), options);
}

TEST_CASE("libvirt: the domain tells where DIMMs lie") {
  const ReadResult by_slot = read_with_dimm("memdimm3", domain_with_dimm("0x280000000", "", "3"));
  REQUIRE(by_slot.error == "");
  CHECK(is_page(*by_slot.image, 0x280000000, 77));
  const ReadResult by_alias =
      read_with_dimm("memua-mine", domain_with_dimm("0x280000000", "ua-mine"));
  REQUIRE(by_alias.error == "");
  CHECK(is_page(*by_alias.image, 0x280000000, 77));
  const ReadResult with_path =
      read_with_dimm("/objects/memdimm0", domain_with_dimm("0x280000000", ""));
  REQUIRE(with_path.error == "");
  CHECK(is_page(*with_path.image, 0x280000000, 77));
}

TEST_CASE("libvirt: the user's word wins over the domain") {
  const ReadResult result = read_with_dimm("memdimm0", domain_with_dimm("0x280000000", ""),
                                           {.block_addresses = {{"memdimm0", {8 * kGiB}}}});
  REQUIRE(result.error == "");
  CHECK(is_page(*result.image, 8 * kGiB, 77));
}

TEST_CASE("libvirt: an address in the domain that cannot be one is refused or not taken") {
  CHECK(
      read_with_dimm("memdimm0", domain_with_dimm("0x100000001", "")).error ==
      "input: memory block \"memdimm0\" of 2 MiB cannot lie at 0x100000001: not a multiple of the "
      "page size or beyond the address space");
  CHECK(
      read_with_dimm("memdimm0", domain_with_dimm("0xfffffffffffff000", "")).error ==
      "input: memory block \"memdimm0\" of 2 MiB cannot lie at 0xfffffffffffff000: not a multiple "
      "of the page size or beyond the address space");
  for (const char* base : {"", "0x", "4294967296", "0xg", "0x10000000000000000"}) {
    const ReadResult result = read_with_dimm("memdimm0", domain_with_dimm(base, ""));
    REQUIRE(result.error == "");
    CHECK(is_page(*result.image, 4 * kGiB, 77));  // by rule
  }
}

TEST_CASE("libvirt: a DIMM of the domain that the stream does not have does not matter") {
  const ReadResult result = read_bytes(
      LibvirtSave{.xml = domain_with_dimm("0x280000000", ""), .stream = stream()}.bytes());
  check_small_pc(result);
}

TEST_CASE("libvirt: a domain that does not parse is warned about") {
  for (const std::string xml : {"<domain>", "<domain></x>", "\xff\xfe", "<a", ""}) {
    CAPTURE(xml);
    const ReadResult result = read_bytes(LibvirtSave{.xml = xml, .stream = stream()}.bytes());
    check_small_pc(result);
    CHECK(result.has_warning("input: the domain XML does not parse: "));
  }
}

TEST_CASE("libvirt: names in the domain are escaped") {
  const ReadResult result = read_bytes(
      LibvirtSave{.xml = "<domain><name>a\nb</name></domain>", .stream = stream()}.bytes());
  CHECK(result.has_decision("libvirt domain \"a\\x0ab\""));
}

TEST_CASE("libvirt: a flipped byte is an error or an image that keeps its promises") {
  const Bytes whole = LibvirtSave{.xml = domain_with_dimm("0x280000000", ""),
                                  .cookie = "<cookie/>",
                                  .stream = small_pc(1).eos().bytes()}
                          .bytes();
  for (std::size_t at = 0; at < 600; ++at) {
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
