#include "support/test.h"
#include "writers/writing.h"

namespace vmconvert::test {
namespace {

TEST_CASE("raw: byte N of the file is byte N of the guest and gaps are zero") {
  const GuestImage image = image_of({{0x1000, 0x3000}, {0x8000, 0x8001}});
  const OutputPlan plan = plan_of("raw", image);
  REQUIRE(plan.parts.size() == 2);
  CHECK(plan.parts[0].at.value == 0x1000);
  CHECK(plan.parts[1].at.value == 0x8000);
  CHECK(plan.size == 0x8001);
  const Bytes file = executed(plan, image);
  CHECK(all_zero(slice(file, 0, 0x1000)));
  CHECK(slice(file, 0x1000, 0x2000) == guest_bytes(image, 0x1000, 0x2000));
  CHECK(all_zero(slice(file, 0x3000, 0x5000)));
  CHECK(slice(file, 0x8000, 1) == guest_bytes(image, 0x8000, 1));
}

TEST_CASE("raw: a gap up to the limit is a hole and a larger one is refused") {
  const GuestImage image = image_of({{0, 0x2000}, {0x100002000, 0x100004000}});
  CHECK(plan_of("raw", image, {.max_gap = 0x100000000}).size == 0x100004000);
  CHECK(error_of([&] { plan_of("raw", image, {.max_gap = 0xffffffff}); }) ==
        "a raw image would have a hole of 4 GiB from 0x2000 to 0x100002000, more than --max-gap "
        "4.0 GiB, in front of 8 KiB (use --to elf or --to lime)");
}

TEST_CASE("raw: the default limit takes a guest with RAM at 1 TiB and refuses one beyond") {
  const std::uint64_t tib = std::uint64_t{1} << 40;
  CHECK(plan_of("raw", image_of({{0xbffff000, 0xc0000000}, {tib, tib + 0x1000}})).size ==
        tib + 0x1000);
  CHECK(
      error_of([&] {
        plan_of("raw", image_of({{0, 0x1000}, {2 * tib, 2 * tib + 0x1000}}));
      }) ==
      "a raw image would have a hole of 2.0 TiB from 0x1000 to 0x20000000000, more than --max-gap "
      "1 TiB, in front of 4 KiB (use --to elf or --to lime)");
}

TEST_CASE("raw: the gap in front of the first memory counts") {
  CHECK(
      error_of([&] {
        plan_of("raw", image_of({{0x2000, 0x3000}}), {.max_gap = 0x1fff});
      }) ==
      "a raw image would have a hole of 8 KiB from 0x0 to 0x2000, more than --max-gap 8.0 KiB, in "
      "front of 4 KiB (use --to elf or --to lime)");
}

TEST_CASE("raw: no gap is allowed if the limit is zero") {
  CHECK(plan_of("raw", image_of({{0, 0x3000}}), {.max_gap = 0}).size == 0x3000);
  CHECK(error_of([&] {
          plan_of("raw", image_of({{0, 1}, {2, 3}}), {.max_gap = 0});
        }) ==
        "a raw image would have a hole of 1 byte from 0x1 to 0x2, more than --max-gap 0 bytes, in "
        "front of 1 byte (use --to elf or --to lime)");
}

}  // namespace
}  // namespace vmconvert::test
