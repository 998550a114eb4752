#include <random>

#include "support/fastlz_stream.h"
#include "support/image_bytes.h"
#include "support/memory_folder.h"
#include "support/qevm_builder.h"
#include "support/test.h"
#include "vmconvert/base/packed.h"
#include "vmconvert/io/decoder.h"
#include "vmware/fastlz.h"

namespace vmconvert::test {
namespace {

/// What a stream decodes to, in hexadecimal; or what is wrong with it.
std::string decoded(const Bytes& stream, std::size_t size) {
  Bytes plain(size);
  try {
    vmware::decode_fastlz(stream, plain);
  } catch (const DecodeError& error) {
    return error.what();
  }
  std::string text;
  for (const std::byte b : plain) text += hex(std::to_integer<unsigned>(b)).substr(2) + ' ';
  return text;
}
std::string decoded(std::string_view stream, std::size_t size) {
  return decoded(from_hex(stream), size);
}

// docs/formats/vmware.md, "Compressed memory". A real file's stream begins 21 00 00 e0.
TEST_CASE("fastlz: the grammar, byte by byte") {
  CHECK(decoded("02 01 02 03", 3) == "1 2 3 ");
  CHECK(decoded("21 00 00 e0 ff 00 00", 2 + 264) == decoded("21 00 00 e0 ff 00 00", 266));
  CHECK(decoded("21 07 08 20 01", 5) == "7 8 7 8 7 ");                    // 3 bytes from 2 back
  CHECK(decoded("20 07 20 00", 4) == "7 7 7 7 ");                         // overlapping
  CHECK(decoded("00 07 e0 02 00", 12) == decoded("20 07 e0 02 00", 12));  // 7 + 2 + 2 bytes
  CHECK(decoded("00 07 e0 ff 00 01 08 09", 267).ends_with("7 8 9 "));  // level 1: one length byte
  CHECK(decoded("20 07 e0 ff 01 00 00 08", 267).ends_with("7 7 8 "));  // level 2: 9 + 255 + 1
  CHECK(decoded("20 05 00 06", 2) == "5 6 ");
}

TEST_CASE("fastlz: far matches of level 2") {
  Bytes plain(9000);
  for (std::size_t i = 0; i < plain.size(); ++i) plain[i] = static_cast<std::byte>(i * i >> 3);
  Bytes stream = fastlz_stream(plain, 2);
  // h 31, d 255, then 16 bits more: from 8192 + 0x0100 back.
  const Bytes match = from_hex("3f ff 01 00");
  stream.insert(stream.end(), match.begin(), match.end());
  Bytes out(plain.size() + 3);
  vmware::decode_fastlz(stream, out);
  CHECK(Bytes(out.end() - 3, out.end()) == Bytes(plain.end() - 8448, plain.end() - 8448 + 3));
}

TEST_CASE("fastlz: damage is an error") {
  CHECK(decoded("", 1) == "FastLZ data ends early");
  CHECK(decoded("40 01", 1) == "FastLZ data is of an unknown level");
  CHECK(decoded("02 01 02", 3) == "FastLZ data ends early");
  CHECK(decoded("02 01 02 03", 2) == "FastLZ data gives too many bytes");
  CHECK(decoded("02 01 02 03", 4) == "FastLZ data gives too few bytes");
  CHECK(decoded("20 07 20 01", 4) == "FastLZ data refers to bytes before its beginning");
  CHECK(decoded("20 07 20 00", 3) == "FastLZ data gives too many bytes");
  CHECK(decoded("20 07 e0 ff ff", 4) == "FastLZ data ends early");
  CHECK(decoded("20 07 3f ff 00", 4) == "FastLZ data ends early");
  CHECK(decoded("20 07 3f ff 00 00", 4) == "FastLZ data refers to bytes before its beginning");
}

/// Random, repeated near and far, and zero.
Bytes mixed(std::size_t size, unsigned seed) {
  std::mt19937 random(seed);
  Bytes bytes(size);
  for (std::size_t at = 0; at < size;) {
    const std::size_t n = std::min<std::size_t>(size - at, 1 + random() % 3000);
    const unsigned kind = random() % 4;
    for (std::size_t i = 0; i < n; ++i) {
      if (kind == 0) bytes[at + i] = static_cast<std::byte>(random());
      if (kind == 1 && at > 20) bytes[at + i] = bytes[at + i - 1 - seed % 17];
      if (kind == 2 && at > 40000) bytes[at + i] = bytes[at + i - 40000];
    }
    at += n;
  }
  return bytes;
}

TEST_CASE("fastlz: what was encoded is decoded, whatever it is") {
  for (unsigned seed = 0; seed < 60; ++seed) {
    const Bytes plain = mixed(1 + seed * 3571 % 90000, seed);
    for (const unsigned level : {1U, 2U}) {
      Bytes out(plain.size());
      vmware::decode_fastlz(fastlz_stream(plain, level), out);
      REQUIRE(out == plain);
    }
  }
}

ReadResult read_vmem(const Bytes& bytes, const ReadOptions& options = {}) {
  return read_in_folder({{"vm.vmem", bytes}}, "vm.vmem", options);
}

TEST_CASE("compressed memory: any place of it reads as the plain one") {
  const Bytes memory = mixed(10 * 65536 + 8192, 3);
  for (const unsigned level : {1U, 2U}) {
    const ReadResult result = read_vmem(compressed_memory(memory, 65536, level));
    REQUIRE(result.error == "");
    CHECK(result.has_decision("648 KiB of memory in compressed blocks"));
    CHECK(guest_bytes(*result.image, 0, memory.size()) == memory);
    for (std::uint64_t at = 0; at + 70000 < memory.size(); at += 7919) {
      const auto first = memory.begin() + static_cast<std::ptrdiff_t>(at);
      REQUIRE(guest_bytes(*result.image, at, 70000) == Bytes(first, first + 70000));
    }
  }
}

TEST_CASE("compressed memory: blocks of 4 MiB, zeros, and what does not compress") {
  Bytes memory(9 << 20);
  const Bytes noise = page_of(5, 3 << 20);
  std::copy(noise.begin(), noise.end(), memory.begin() + (5 << 20));
  const Bytes packed = compressed_memory(memory);
  CHECK(packed.size() < memory.size() / 2);
  const ReadResult result = read_in_folder({{"no extension", packed}}, "no extension");
  REQUIRE(result.error == "");
  CHECK(guest_bytes(*result.image, 0, memory.size()) == memory);
  CHECK(executed({memory.size(), {{{0}, memory.size(), GuestData{{0}}}}}, *result.image, 4) ==
        memory);
}

TEST_CASE("compressed memory: plain memory that happens to begin like a block is plain") {
  Bytes memory = page_of(1, 8192);
  const Bytes header = ByteWriter().le32(100).le32(0).le32(50).le32(0).bytes();
  std::copy(header.begin(), header.end(), memory.begin());
  CHECK(guest_bytes(*read_vmem(memory).image, 0, 8192) == memory);
}

TEST_CASE("compressed memory: damage is told, and salvage leaves it out") {
  const Bytes memory = mixed(4 * 0x400000, 9);
  const Bytes packed = compressed_memory(memory);
  const auto stored = [&](std::size_t at) {
    return load<std::uint32_t>(std::span(packed).subspan(at + 8), std::endian::little);
  };
  const std::size_t second = 16 + stored(0), third = second + 16 + stored(second);
  Bytes damaged = packed;
  damaged[second + 16] = std::byte{0xff};
  ReadResult result = read_vmem(damaged);
  REQUIRE(result.error == "");
  CHECK(guest_bytes(*result.image, 0, 0x400000) ==
        Bytes(memory.begin(), memory.begin() + 0x400000));
  CHECK(error_of([&] { guest_bytes(*result.image, 0x400000, 1); }) ==
        "vm.vmem: offset " + hex(second + 16) +
            ": compressed block: FastLZ data is of an unknown level");
  result = read_vmem(damaged, {.salvage = true});
  REQUIRE(result.error == "");
  CHECK(
      result.has_loss("FastLZ data is of an unknown level; 4 MiB of guest memory left out: "
                      "0x400000-0x800000"));
  CHECK(guest_bytes(*result.image, 0x800000, 4096) ==
        Bytes(memory.begin() + 0x800000, memory.begin() + 0x801000));

  damaged = packed;
  damaged.resize(third + 20);
  CHECK(read_vmem(damaged).error == "vm.vmem: offset " + hex(third + 16) +
                                        ": compressed block is cut off: " +
                                        std::to_string(stored(third)) + " bytes wanted, 4 left");
  result = read_vmem(damaged, {.salvage = true});
  CHECK(result.has_loss("compressed block is cut off"));
  CHECK(result.image->runs.extents() == std::vector{guest_range(0, 0x800000)});
  damaged = packed;
  damaged[second + 4] = std::byte{1};
  CHECK(read_vmem(damaged).error.ends_with("header of a compressed block makes no sense"));
  damaged = packed;
  damaged[second + 2] = std::byte{0x3f};
  CHECK(
      read_vmem(damaged).error.ends_with("header of a compressed block is of a block of another "
                                         "size"));
}

}  // namespace
}  // namespace vmconvert::test
