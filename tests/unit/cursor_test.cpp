#include "vmconvert/io/cursor.h"

#include <algorithm>
#include <random>

#include "support/byte_writer.h"
#include "support/failing_io.h"
#include "support/qevm_builder.h"
#include "support/test.h"

namespace vmconvert {
namespace {

using test::Bytes;
using test::error_of;
using test::from_hex;

MemorySource ten() { return {"ten", from_hex("00 01 02 03 04 05 06 07 08 09")}; }

FileRange file_range(std::uint64_t begin, std::uint64_t end) {
  return FileRange::between({begin}, {end});
}

TEST_CASE("cursor: reads in the byte order it was given") {
  const MemorySource source = ten();
  Cursor big(source, file_range(1, 10), std::endian::big);
  CHECK(big.read<std::uint16_t>("a") == 0x0102);
  CHECK(big.read<std::uint32_t>("b") == 0x03040506);
  CHECK(big.read<std::uint8_t>("c") == 7);
  Cursor little(source, file_range(1, 10), std::endian::little);
  CHECK(little.read<std::uint64_t>("a") == 0x0807060504030201);
  CHECK(little.position().value == 9);
  CHECK(little.remaining() == 1);
}

TEST_CASE("cursor: the window is read to its last byte and not beyond") {
  const MemorySource source = ten();
  Cursor cursor(source, file_range(2, 6), std::endian::big);
  CHECK(cursor.read<std::uint32_t>("all") == 0x02030405);
  CHECK(cursor.at_end());
  CHECK(error_of([&] { cursor.read<std::uint8_t>("more"); }) ==
        "ten: offset 0x6: more is cut off: 1 bytes wanted, 0 left");
}

TEST_CASE("cursor: a field across the end of the window is cut off where it begins") {
  const MemorySource source = ten();
  Cursor cursor(source, file_range(2, 5), std::endian::big);
  CHECK(error_of([&] { cursor.read<std::uint32_t>("length"); }) ==
        "ten: offset 0x2: length is cut off: 4 bytes wanted, 3 left");
  CHECK(cursor.position().value == 2);  // nothing was taken
  CHECK(error_of([&] { cursor.take(4, "content"); }) ==
        "ten: offset 0x2: content is cut off: 4 bytes wanted, 3 left");
  CHECK(error_of([&] { cursor.read_text(~std::uint64_t{0}, "name"); }) ==
        "ten: offset 0x2: name is cut off: 18446744073709551615 bytes wanted, 3 left");
}

TEST_CASE("cursor: a window beyond the source is refused") {
  const MemorySource source = ten();
  Cursor whole(source, file_range(0, 10), std::endian::big);
  CHECK(whole.remaining() == 10);
  Cursor empty(source, file_range(10, 10), std::endian::big);
  CHECK(empty.at_end());
  CHECK(error_of([&] { Cursor(source, file_range(4, 11), std::endian::big); }) ==
        "ten: offset 0x4: data reaches past the end of the input");
}

TEST_CASE("cursor: peek does not move and tells the end") {
  const MemorySource source = ten();
  Cursor cursor(source, file_range(7, 10), std::endian::big);
  CHECK(cursor.peek<std::uint16_t>() == 0x0708);
  CHECK(cursor.peek<std::uint16_t>() == 0x0708);
  CHECK(!cursor.peek<std::uint32_t>());
  Bytes three(3), four(4);
  CHECK(cursor.peek_bytes(three));
  CHECK(three == from_hex("07 08 09"));
  CHECK(!cursor.peek_bytes(four));
  CHECK(cursor.position().value == 7);
  cursor.take(3, "rest");
  CHECK(!cursor.peek<std::uint8_t>());
  CHECK(cursor.peek_bytes({}));
}

TEST_CASE("cursor: seek stays in the window") {
  const MemorySource source = ten();
  Cursor cursor(source, file_range(2, 6), std::endian::big);
  cursor.seek({6}, "end");
  CHECK(cursor.at_end());
  cursor.seek({2}, "begin");
  CHECK(cursor.read<std::uint8_t>("first") == 2);
  CHECK(error_of([&] { cursor.seek({7}, "table"); }) ==
        "ten: offset 0x2: table lies outside the data it is part of");
  CHECK(error_of([&] { cursor.seek({1}, "table"); }) ==
        "ten: offset 0x2: table lies outside the data it is part of");
}

TEST_CASE("cursor: fail names the field read last") {
  const MemorySource source = ten();
  Cursor cursor(source, file_range(0, 10), std::endian::big);
  cursor.read<std::uint32_t>("magic");
  cursor.read<std::uint16_t>("version");
  CHECK(error_of([&] { cursor.fail("version", "is odd"); }) == "ten: offset 0x4: version is odd");
  CHECK(cursor.position().value == 6);
}

TEST_CASE("cursor: take gives the place without reading it") {
  const auto source = std::make_shared<MemorySource>("m", Bytes(100));
  const test::ThrowingSource never(source, 1);
  Cursor cursor(never, file_range(10, 100), std::endian::big);
  CHECK(cursor.take(80, "content") == file_range(10, 90));
  CHECK(cursor.take(0, "nothing") == file_range(90, 90));
  CHECK(!never.failed());
}

TEST_CASE("cursor: any mix of steps sees the same bytes") {
  const Bytes bytes = test::page_of(7, 1 << 20);
  const MemorySource source("m", bytes);
  std::mt19937_64 random(1);
  for (int round = 0; round < 20; ++round) {
    const std::uint64_t begin = random() % 5000;
    const std::uint64_t end = bytes.size() - random() % 5000;
    Cursor cursor(source, file_range(begin, end), std::endian::little);
    for (int step = 0; step < 3000; ++step) {
      const std::uint64_t at = cursor.position().value;
      const std::size_t most = random() % 16 == 0 ? 200'000 : random() % 4 == 0 ? 5000 : 20;
      const std::uint64_t n = std::min<std::uint64_t>(random() % most, cursor.remaining());
      const auto expected = std::span(bytes).subspan(at, n);
      switch (random() % 6) {
        case 0:
          REQUIRE(std::ranges::equal(test::as_bytes(cursor.read_text(n, "text")), expected));
          break;
        case 1: {
          Bytes out(n);
          REQUIRE(cursor.peek_bytes(out));
          REQUIRE(std::ranges::equal(out, expected));
          break;
        }
        case 2:
          REQUIRE(cursor.take(n, "content") == file_range(at, at + n));
          break;
        case 3:
          cursor.seek({begin + random() % (end - begin)}, "place");
          break;
        default:
          if (cursor.remaining() < 8) {
            cursor.seek({begin}, "begin");
          } else {
            REQUIRE(cursor.read<std::uint64_t>("word") ==
                    load<std::uint64_t>(std::span(bytes).subspan(at), std::endian::little));
          }
      }
    }
  }
}

TEST_CASE("cursor: a failed read leaves nothing in the buffer") {
  const auto source = std::make_shared<MemorySource>("m", test::page_of(3, 4096));
  const test::ThrowingSource failing(source, 2);
  Cursor cursor(failing, file_range(0, 4096), std::endian::big);
  cursor.read<std::uint8_t>("first");
  cursor.seek({4000}, "far");
  CHECK(error_of([&] { cursor.read<std::uint8_t>("far"); }) ==
        "m: offset 0xfa0: read: Input/output error");
  CHECK(error_of([&] { cursor.read<std::uint8_t>("far"); }) ==
        "m: offset 0xfa0: read: Input/output error");
}

}  // namespace
}  // namespace vmconvert
