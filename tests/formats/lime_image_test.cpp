#include "all_formats.h"
#include "support/image_bytes.h"
#include "support/kdump_builder.h"
#include "support/qevm_builder.h"
#include "support/reading.h"
#include "support/test.h"
#include "vmconvert/convert/choose_format.h"

namespace vmconvert::test {
namespace {

constexpr std::size_t kHeader = 32;

Bytes joined(const std::vector<Bytes>& parts) {
  ByteWriter out;
  for (const Bytes& part : parts) out.append(part);
  return out.bytes();
}

/// Half hard to compress, half easy.
Bytes mixed(std::size_t size) {
  Bytes bytes = page_of(3, size);
  for (std::size_t i = 0; i < size; ++i) {
    if (i / 1000 % 2 == 1) bytes[i] = static_cast<std::byte>(i / 1000);
  }
  return bytes;
}

TEST_CASE("lime image: records in any order and of any size") {
  const ReadResult result = read_bytes(
      joined({lime_record(0x100000000, page_of(5)), lime_record(0x1000, page_of(1, 5000)),
              lime_record(0x9fc00, page_of(2, 1024))}));
  REQUIRE(result.error == "");
  const GuestImage& image = *result.image;
  CHECK(image.runs.extents() == std::vector{guest_range(0x1000, 0x2388),
                                            guest_range(0x9fc00, 0xa0000),
                                            guest_range(0x100000000, 0x100001000)});
  CHECK(guest_bytes(image, 0x1000, 5000) == page_of(1, 5000));
  CHECK(guest_bytes(image, 0x9fc00, 1024) == page_of(2, 1024));
  CHECK(guest_bytes(image, 0x100000000, 4096) == page_of(5));
  CHECK(image.arch == Arch::x86_64);
  CHECK(result.has_warning("does not tell the guest's architecture; x86_64 is assumed"));
  CHECK(result.has_decision("3 records with 9.9 KiB of guest memory"));
  CHECK(image.metadata.facts.at(0).value == "LiME");
  CHECK(
      read_bytes(lime_record(0, page_of(1)), {.machine = machine_by_name("aarch64")}).image->arch ==
      Arch::aarch64);
}

TEST_CASE("lime image: pages one after the other, each with its header") {
  std::vector<Bytes> records;
  for (std::uint64_t i = 0; i < 5; ++i) records.push_back(lime_record(i * 4096, page_of(i)));
  const ReadResult result = read_bytes(joined(records));
  REQUIRE(result.error == "");
  for (std::uint64_t i = 0; i < 5; ++i)
    CHECK(guest_bytes(*result.image, i * 4096, 4096) == page_of(i));
}

TEST_CASE("lime image: blocks of AVML, compressed and not") {
  const Bytes memory = mixed(300'000);
  for (const bool compressed : {true, false}) {
    for (const std::size_t chunk : {65536U, 1000U}) {
      const ReadResult result =
          read_bytes(joined({avml_block(0x1000, memory, compressed, chunk),
                             avml_block(0x100000, page_of(1)), lime_record(0x200000, page_of(2))}));
      REQUIRE(result.error == "");
      const GuestImage& image = *result.image;
      CHECK(image.runs.extents() == std::vector{guest_range(0x1000, 0x1000 + memory.size()),
                                                guest_range(0x100000, 0x101000),
                                                guest_range(0x200000, 0x201000)});
      CHECK(guest_bytes(image, 0x1000, memory.size()) == memory);
      CHECK(guest_bytes(image, 0x100000, 4096) == page_of(1));
      CHECK(guest_bytes(image, 0x200000, 4096) == page_of(2));
      for (std::uint64_t at = 0; at + 3000 < memory.size(); at += 7919) {
        const auto first = memory.begin() + static_cast<std::ptrdiff_t>(at);
        REQUIRE(guest_bytes(image, 0x1000 + at, 3000) == Bytes(first, first + 3000));
      }
      CHECK(image.metadata.facts.at(0).value == "AVML");
    }
  }
}

TEST_CASE("lime image: frames that may be stepped over are") {
  const Bytes block = avml_block(0, page_of(1));
  const Bytes head(block.begin(), block.begin() + 42), rest(block.begin() + 42, block.end() - 8);
  const Bytes padding = from_hex("fe 02 00 00 aa bb");
  const Bytes result_bytes =
      joined({head, padding, rest, ByteWriter().le64(10 + padding.size() + rest.size()).bytes()});
  const ReadResult result = read_bytes(result_bytes);
  REQUIRE(result.error == "");
  CHECK(guest_bytes(*result.image, 0, 4096) == page_of(1));
}

TEST_CASE("lime image: records that cannot be are refused") {
  const auto error_with = [](Bytes bytes, std::size_t at, std::string_view hex_bytes) {
    const Bytes patch = from_hex(hex_bytes);
    std::copy(patch.begin(), patch.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
    return read_bytes(std::move(bytes)).error;
  };
  const Bytes one = lime_record(0x1000, page_of(1));
  CHECK(error_with(one, 4, "02") == "input: offset 0x4: version 2 is not known");
  CHECK(error_with(one, 16, "ff 0f") ==
        "input: offset 0x10: e_addr 0xfff is no end of a range that begins at 0x1000");
  CHECK(error_with(one, 16, "ff ff ff ff ff ff ff ff") ==
        "input: offset 0x10: e_addr 0xffffffffffffffff is no end of a range that begins at 0x1000");
  CHECK(error_with(one, 16, "ff ff") ==
        "input: offset 0x20: memory at 0x1000 is cut off: 61440 bytes wanted, 4096 left");
  CHECK(read_bytes(joined({one, Bytes(4)})).error ==
        "input: offset 0x1020: magic is neither that of LiME nor that of AVML");
  CHECK(read_bytes(joined({one, lime_record(0x1fff, page_of(2))})).error ==
        "input: two records hold guest address 0x1fff");

  const Bytes block = avml_block(0, page_of(1));
  CHECK(error_with(block, 4, "01") == "input: offset 0x4: version 1 is not known");
  CHECK(error_with(block, kHeader, "00") ==
        "input: offset 0x20: chunk type is not that of a stream's beginning");
  CHECK(error_with(block, kHeader + 4, "53") ==
        "input: offset 0x24: stream name is not that of snappy");
  CHECK(error_with(block, kHeader + 10, "02") == "input: offset 0x2a: chunk type 0x2 is not known");
  CHECK(error_with(block, kHeader + 11, "04 00") == "input: offset 0x2c: chunk length is 4");
  CHECK(error_with(block, kHeader + 13, "02").starts_with("input: offset 0x2c: chunk length is "));
  CHECK(error_with(block, kHeader + 18, "80 80 80 80 80") ==
        "input: offset 0x36: snappy length is none that a chunk can have");
  CHECK(error_with(block, kHeader + 18, "81 20") ==
        "input: offset 0x32: chunk holds more than its block");
  CHECK(error_with(block, block.size() - 8, "00 00")
            .starts_with("input: offset " + hex(block.size() - 8) +
                         ": block length is 0x0, the block before it has "));
}

TEST_CASE("lime image: an AVML chunk that is damaged is told, and salvage leaves it out") {
  for (const bool compressed : {true, false}) {
    const Bytes memory = mixed(16 * 4096);
    Bytes bytes = avml_block(0x10000, memory, compressed, 4096);
    bytes[kHeader + 10 + 8 + 2000] ^= std::byte{0xff};
    ReadResult result = read_bytes(bytes);
    REQUIRE(result.error == "");
    const std::string error = error_of([&] { guest_bytes(*result.image, 0x10000, 4096); });
    CHECK(error.starts_with("input: offset 0x32: chunk: "));
    if (!compressed) CHECK(error.ends_with("the checksum does not match"));
    result = read_bytes(bytes, {.salvage = true});
    REQUIRE(result.error == "");
    CHECK(result.has_loss("; 4 KiB of guest memory left out: 0x10000-0x11000"));
    CHECK(result.image->runs.extents() == std::vector{guest_range(0x11000, 0x20000)});
    CHECK(guest_bytes(*result.image, 0x11000, memory.size() - 4096) ==
          Bytes(memory.begin() + 4096, memory.end()));
  }
}

TEST_CASE("lime image: salvage keeps what is there, and of an address the first") {
  Bytes cut = joined({lime_record(0, page_of(1)), lime_record(0x5000, page_of(2))});
  cut.erase(cut.end() - 1000, cut.end());
  ReadResult result = read_bytes(cut, {.salvage = true});
  REQUIRE(result.error == "");
  CHECK(
      result.has_loss("memory at 0x5000 is cut off: 4096 bytes wanted, 3096 left; what follows is "
                      "lost"));
  CHECK(result.image->runs.extents() ==
        std::vector{guest_range(0, 0x1000), guest_range(0x5000, 0x5000 + 3096)});
  result = read_bytes(joined({lime_record(0x1000, page_of(1)), lime_record(0x1800, page_of(2))}),
                      {.salvage = true});
  CHECK(
      result.has_loss("two records hold the same guest address; 2 KiB of guest memory left out: "
                      "0x1800-0x2000"));
  CHECK(guest_bytes(*result.image, 0x1000, 4096) == page_of(1));
  const Bytes rest = page_of(2);
  CHECK(guest_bytes(*result.image, 0x2000, 2048) == Bytes(rest.begin() + 2048, rest.end()));
}

TEST_CASE("raw image: nothing says so, and it is never chosen unasked") {
  const auto source = std::make_shared<MemorySource>("input", page_of(1, 5000));
  CollectingDiagnostics diagnostics;
  CHECK(error_of([&] {
          choose_format(all_formats(), "", *source);
        }).ends_with("; what cannot be told by content: --from raw)"));
  const Format& raw = choose_format(all_formats(), "raw", *source);
  const GuestImage image = raw.read(Input(source, false), {}, diagnostics);
  CHECK(image.runs.extents() == std::vector{guest_range(0, 5000)});
  CHECK(guest_bytes(image, 0, 5000) == page_of(1, 5000));
  CHECK(diagnostics.has(Diagnostics::Level::warning, "x86_64 is assumed"));
  CHECK(diagnostics.has(Diagnostics::Level::decision,
                        "4.9 KiB taken for guest memory from address 0 on"));
}

}  // namespace
}  // namespace vmconvert::test
