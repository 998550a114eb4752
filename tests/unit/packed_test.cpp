#include "vmconvert/base/packed.h"

#include <cstring>

#include "support/byte_writer.h"
#include "support/test.h"

namespace vmconvert {
namespace {

using test::from_hex;

TEST_CASE("load: both byte orders of every width") {
  const auto bytes = from_hex("01 02 03 04 05 06 07 f8");
  CHECK(load<std::uint8_t>(bytes, std::endian::big) == 0x01);
  CHECK(load<std::uint8_t>(bytes, std::endian::little) == 0x01);
  CHECK(load<std::uint16_t>(bytes, std::endian::big) == 0x0102);
  CHECK(load<std::uint16_t>(bytes, std::endian::little) == 0x0201);
  CHECK(load<std::uint32_t>(bytes, std::endian::big) == 0x01020304);
  CHECK(load<std::uint32_t>(bytes, std::endian::little) == 0x04030201);
  CHECK(load<std::uint64_t>(bytes, std::endian::big) == 0x01020304050607f8);
  CHECK(load<std::uint64_t>(bytes, std::endian::little) == 0xf807060504030201);
}

TEST_CASE("le: a struct of packed integers is its bytes") {
  struct Record {
    le16 a{0x0102};
    le64 b{0x1112131415161718};
    le32 c{0xfffffffe};
    Le<std::uint8_t> d{0x7f};
  } record;
  static_assert(sizeof record == 15 && alignof(Record) == 1);
  test::Bytes bytes(sizeof record);
  std::memcpy(bytes.data(), &record, sizeof record);
  CHECK(bytes == from_hex("02 01 18 17 16 15 14 13 12 11 fe ff ff ff 7f"));
  CHECK(record.a == 0x0102);
  CHECK(record.b == 0x1112131415161718);
  CHECK(record.c == 0xfffffffe);
  CHECK(le32() == 0U);
}

}  // namespace
}  // namespace vmconvert
