#include "vmconvert/model/output_plan.h"

#include <stdexcept>

#include "support/image_bytes.h"
#include "support/test.h"

namespace vmconvert {
namespace {

using test::guest_range;

TEST_CASE("plan builder: parts lie one behind the other") {
  PlanBuilder builder;
  builder.literal(test::from_hex("01 02 03"));
  builder.guest(guest_range(0x1000, 0x3000));
  CHECK(builder.position().value == 0x2003);
  const OutputPlan plan = std::move(builder).finish();
  CHECK(plan.size == 0x2003);
  REQUIRE(plan.parts.size() == 2);
  CHECK(plan.parts[0].at.value == 0);
  CHECK(plan.parts[0].size == 3);
  CHECK(std::get<Literal>(plan.parts[0].content).bytes == test::from_hex("01 02 03"));
  CHECK(plan.parts[1].at.value == 3);
  CHECK(plan.parts[1].size == 0x2000);
  CHECK(plan.parts[1].end().value == 0x2003);
  CHECK(std::get<GuestData>(plan.parts[1].content).begin.value == 0x1000);
}

TEST_CASE("plan builder: align and advance_to leave gaps") {
  PlanBuilder builder;
  builder.align(4096);
  CHECK(builder.position().value == 0);
  builder.literal(test::from_hex("ff"));
  builder.align(4096);
  builder.align(4096);
  CHECK(builder.position().value == 4096);
  builder.advance_to({4096});
  builder.advance_to({10'000});
  builder.guest(guest_range(0, 1));
  const OutputPlan plan = std::move(builder).finish();
  CHECK(plan.parts.size() == 2);
  CHECK(plan.parts[1].at.value == 10'000);
  CHECK(plan.size == 10'001);
}

TEST_CASE("plan builder: empty parts are left out") {
  PlanBuilder builder;
  builder.literal({});
  builder.guest(guest_range(5, 5));
  const OutputPlan plan = std::move(builder).finish();
  CHECK(plan.parts.empty());
  CHECK(plan.size == 0);
}

TEST_CASE("plan builder: going back is a bug and an overflow an error") {
  PlanBuilder builder;
  builder.literal(test::from_hex("ff ff"));
  CHECK_THROWS_AS(builder.advance_to({1}), std::logic_error);
  builder.advance_to({~std::uint64_t{0} - 1});
  CHECK(test::error_of([&] { builder.guest(guest_range(0, 2)); }) ==
        "address arithmetic overflows 64 bits");
  CHECK(test::error_of([&] { builder.align(4096); }) == "address arithmetic overflows 64 bits");
}

}  // namespace
}  // namespace vmconvert
