#include "support/test.h"
#include "writers/writing.h"

namespace vmconvert::test {
namespace {

TEST_CASE("lime: each extent has a header of these 32 bytes") {
  const GuestImage image = image_of({{0x1000, 0xa0000}, {0x100000000, 0x100001000}});
  const OutputPlan plan = plan_of("lime", image);
  REQUIRE(plan.parts.size() == 4);
  const Bytes file = executed(plan, image);
  CHECK(slice(file, 0, 32) == from_hex("45 4d 69 4c 01 00 00 00"  // "EMiL", version 1
                                       "00 10 00 00 00 00 00 00"  // first byte
                                       "ff ff 09 00 00 00 00 00"  // last byte, inclusive
                                       "00 00 00 00 00 00 00 00"));
  CHECK(slice(file, 32, 0x9f000) == guest_bytes(image, 0x1000, 0x9f000));
  const std::uint64_t second = 32 + 0x9f000;
  CHECK(slice(file, second, 32) == from_hex("45 4d 69 4c 01 00 00 00"
                                            "00 00 00 00 01 00 00 00"
                                            "ff 0f 00 00 01 00 00 00"
                                            "00 00 00 00 00 00 00 00"));
  CHECK(slice(file, second + 32, 0x1000) == guest_bytes(image, 0x100000000, 0x1000));
  CHECK(file.size() == second + 32 + 0x1000);
}

TEST_CASE("lime: records follow each other without a gap") {
  const OutputPlan plan = plan_of("lime", image_of({{0, 1}, {5, 6}, {0x1000, 0x3000}}));
  std::uint64_t at = 0;
  for (const Part& part : plan.parts) {
    CHECK(part.at.value == at);
    at += part.size;
  }
  CHECK(plan.size == at);
  CHECK(at == 3 * 32 + 1 + 1 + 0x2000);
}

TEST_CASE("lime: runs of one extent share a record") {
  RunListBuilder runs(4096);
  runs.add({guest_range(0, 0x1000), Filled{std::byte{0}}});
  runs.add({guest_range(0x1000, 0x2000), Filled{std::byte{1}}});
  GuestImage image;
  image.runs = runs.finish();
  CHECK(plan_of("lime", image).parts.size() == 2);
}

TEST_CASE("lime: the last byte of the address space can be told") {
  const std::uint64_t last = ~std::uint64_t{0} - 4095;
  RunListBuilder runs(4096);
  runs.add({guest_range(last - 4096, last), Filled{std::byte{1}}});
  GuestImage image;
  image.runs = runs.finish();
  const Bytes file = executed(plan_of("lime", image), image);
  CHECK(slice(file, 8, 16) == from_hex("00 e0 ff ff ff ff ff ff ff ef ff ff ff ff ff ff"));
}

TEST_CASE("lime: an image without memory is empty") {
  CHECK(plan_of("lime", GuestImage()).size == 0);
}

}  // namespace
}  // namespace vmconvert::test
