#include "qemu/xbzrle.h"

#include "support/encoded_ram.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

/// What the delta makes of a page of 0, 1, 2, ...; its complaint if it has one.
struct Applied {
  std::string error;
  Bytes page;
};

Applied apply(const Bytes& delta, std::size_t page_size = 4096) {
  Applied result;
  for (std::size_t i = 0; i < page_size; ++i) result.page.push_back(static_cast<std::byte>(i));
  result.error = qemu::apply_xbzrle(delta, result.page);
  return result;
}

TEST_CASE("xbzrle: an empty delta changes nothing") {
  const Applied result = apply({});
  CHECK(result.error == "");
  CHECK(result.page == apply({}).page);
}

TEST_CASE("xbzrle: bytes are changed where the delta says, and nowhere else") {
  // 3 stay, 2 change, 130 stay (two bytes), 1 changes.
  const Applied result = apply(from_hex("03 02 aabb 82 01 01 cc"));
  REQUIRE(result.error == "");
  Bytes expected = apply({}).page;
  expected[3] = std::byte{0xaa};
  expected[4] = std::byte{0xbb};
  expected[135] = std::byte{0xcc};
  CHECK(result.page == expected);
}

TEST_CASE("xbzrle: first and last byte, and all of the page, can change") {
  CHECK(apply(from_hex("00 01 ee")).page[0] == std::byte{0xee});
  const Applied last = apply(Delta().same(4095).changed(from_hex("ee")).bytes());
  REQUIRE(last.error == "");
  CHECK(last.page[4095] == std::byte{0xee});
  const Bytes whole(4096, std::byte{0x77});
  CHECK(apply(Delta().same(0).changed(whole).bytes()).page == whole);
}

TEST_CASE("xbzrle: the longest lengths of 14 bits are read") {
  const Applied result = apply(Delta().same(0x3fff).changed(from_hex("01")).bytes(), 0x4000);
  REQUIRE(result.error == "");
  CHECK(result.page[0x3fff] == std::byte{1});
}

TEST_CASE("xbzrle: damaged deltas are told apart") {
  const auto error = [](std::string_view hex) { return apply(from_hex(hex)).error; };
  const std::string length = "holds a length that is cut off or too long";
  CHECK(error("83") == length);              // second byte missing
  CHECK(error("80 80 01 01 ff") == length);  // three bytes
  CHECK(error("01") == length);              // nothing changes behind it
  CHECK(error("01 82") == length);
  CHECK(error("01 80 80 01") == length);
  CHECK(error("01 01 ff 00 01 ff") == "holds an empty run of equal bytes");
  CHECK(error("01 00") == "holds an empty run of changed bytes");
  CHECK(error("01 02 ff") == "ends inside a run of changed bytes");
  CHECK(error("81 20 01 ff") == "reaches past the end of its page");
  CHECK(error("ff 1f 02 ff ff") == "reaches past the end of its page");
  CHECK(error("80 20 01 ff") == "reaches past the end of its page");
  CHECK(error("ff 1f 01 ff") == "");
}

}  // namespace
}  // namespace vmconvert::test
