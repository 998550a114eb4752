#include "vmconvert/base/address.h"

#include "support/test.h"

namespace vmconvert {
namespace {

using test::error_of;

constexpr std::uint64_t kLast = ~std::uint64_t{0};
constexpr const char* kOverflow = "address arithmetic overflows 64 bits";

GuestRange range(std::uint64_t begin, std::uint64_t end) {
  return GuestRange::between({begin}, {end});
}

TEST_CASE("checked_add: the last number is reached and wrap-around is refused") {
  CHECK(checked_add(0, 0) == 0);
  CHECK(checked_add(kLast, 0) == kLast);
  CHECK(checked_add(kLast - 1, 1) == kLast);
  CHECK(error_of([] { checked_add(kLast, 1); }) == kOverflow);
  CHECK(error_of([] { checked_add(1, kLast); }) == kOverflow);
}

TEST_CASE("checked_mul: the largest product fits and the next one is refused") {
  CHECK(checked_mul(0, kLast) == 0);
  CHECK(checked_mul(kLast, 0) == 0);
  CHECK(checked_mul(kLast, 1) == kLast);
  CHECK(checked_mul(0xffffffff, 0x100000001) == kLast);
  CHECK(error_of([] { checked_mul(std::uint64_t{1} << 32, std::uint64_t{1} << 32); }) ==
        "size arithmetic overflows 64 bits");
}

TEST_CASE("checked_cast: a number that does not fit is refused") {
  CHECK(checked_cast<std::uint8_t>(255) == 255);
  CHECK(checked_cast<std::int32_t>(std::uint64_t{0x7fffffff}) == 0x7fffffff);
  CHECK(error_of([] { checked_cast<std::uint8_t>(256); }) == "number does not fit its type");
  CHECK(error_of([] { checked_cast<std::uint32_t>(-1); }) == "number does not fit its type");
}

TEST_CASE("align_up: multiples stay and overflow is refused") {
  CHECK(align_up(0, 4096) == 0);
  CHECK(align_up(1, 4096) == 4096);
  CHECK(align_up(4096, 4096) == 4096);
  CHECK(align_up(kLast, 1) == kLast);
  CHECK(error_of([] { align_up(kLast, 2); }) == kOverflow);
}

TEST_CASE("address: a difference below zero is refused") {
  CHECK(GuestPhysAddr{5} - GuestPhysAddr{5} == 0);
  CHECK(error_of([] { (void)(GuestPhysAddr{4} - GuestPhysAddr{5}); }) ==
        "address arithmetic goes below zero");
}

TEST_CASE("range: a size that wraps makes no range") {
  CHECK(GuestRange::try_sized({kLast}, 0)->empty());
  CHECK(GuestRange::try_sized({kLast - 1}, 1)->end().value == kLast);
  CHECK(!GuestRange::try_sized({kLast}, 1));
  CHECK(!GuestRange::try_sized({1}, kLast));
  CHECK(error_of([] { GuestRange::sized({kLast}, 1); }) == kOverflow);
  CHECK(error_of([] { range(2, 1); }) == "address arithmetic goes below zero");
}

TEST_CASE("range: the default one is empty at zero") {
  CHECK(GuestRange().empty());
  CHECK(GuestRange().begin().value == 0);
}

TEST_CASE("range: contains its first address and not its end") {
  const GuestRange r = range(10, 20);
  CHECK(!r.contains(GuestPhysAddr{9}));
  CHECK(r.contains(GuestPhysAddr{10}));
  CHECK(r.contains(GuestPhysAddr{19}));
  CHECK(!r.contains(GuestPhysAddr{20}));
  CHECK(r.contains(r));
  CHECK(r.contains(range(20, 20)));
  CHECK(!r.contains(range(9, 20)));
  CHECK(!r.contains(range(10, 21)));
}

TEST_CASE("range: neighbours do not overlap") {
  CHECK(!range(10, 20).overlaps(range(20, 30)));
  CHECK(!range(20, 30).overlaps(range(10, 20)));
  CHECK(range(10, 21).overlaps(range(20, 30)));
  CHECK(range(0, 100).overlaps(range(50, 51)));
}

TEST_CASE("range: the intersection is the common part or empty") {
  CHECK(range(10, 20).intersection(range(15, 30)) == range(15, 20));
  CHECK(range(15, 30).intersection(range(10, 20)) == range(15, 20));
  CHECK(range(10, 20).intersection(range(12, 14)) == range(12, 14));
  CHECK(range(10, 20).intersection(range(20, 30)).empty());
  CHECK(range(10, 20).intersection(range(30, 40)).empty());
  CHECK(range(0, kLast).intersection(range(kLast, kLast)).empty());
}

}  // namespace
}  // namespace vmconvert
