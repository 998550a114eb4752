#include "vmconvert/model/guest_image.h"

#include "support/failing_io.h"
#include "support/image_bytes.h"
#include "support/qevm_builder.h"
#include "support/test.h"

namespace vmconvert {
namespace {

using test::Bytes;

constexpr std::uint32_t kPage = 4096;

/// Pages 0 to 3 behind headers of 8 bytes, 4 filled with 0xee, 6 plain at 100.
GuestImage sample(std::shared_ptr<const ByteSource> source) {
  RunListBuilder runs(kPage);
  runs.add({GuestRange::sized({0}, 4 * kPage), InFile{.source = 0, .stride = 4104, .at = {8}}});
  runs.add({GuestRange::sized({4 * kPage}, kPage), Filled{std::byte{0xee}}});
  runs.add(
      {GuestRange::sized({6 * kPage}, kPage), InFile{.source = 0, .stride = kPage, .at = {100}}});
  GuestImage image;
  image.sources = {std::move(source)};
  image.runs = runs.finish();
  return image;
}

std::shared_ptr<const ByteSource> content() {
  return std::make_shared<MemorySource>("m", test::page_of(1, 5 * 4104));
}

TEST_CASE("read_guest: any part of memory is what the runs say") {
  const GuestImage image = sample(content());
  for (std::uint64_t begin = 0; begin < 5 * kPage; begin += 777) {
    for (const unsigned size : {0U, 1U, 9U, 4095U, 4096U, 4097U, 9000U}) {
      if (begin + size > 5 * kPage) continue;
      Bytes bytes(size);
      REQUIRE(read_guest(image, {begin}, bytes));
      REQUIRE(bytes == test::guest_bytes(image, begin, size));
    }
  }
}

TEST_CASE("read_guest: memory that is in no run is not there") {
  const GuestImage image = sample(content());
  Bytes one(1), two(2), page(kPage);
  CHECK(!read_guest(image, {5 * kPage}, one));
  CHECK(!read_guest(image, {5 * kPage - 1}, two));
  CHECK(read_guest(image, {5 * kPage - 1}, one));
  CHECK(read_guest(image, {6 * kPage}, page));
  CHECK(!read_guest(image, {6 * kPage + 1}, page));
  CHECK(!read_guest(image, {7 * kPage}, one));
  CHECK(!read_guest(image, {~std::uint64_t{0}}, one));
  CHECK(!read_guest(image, {~std::uint64_t{0} - 1}, one));
  CHECK(!read_guest(image, {~std::uint64_t{0}}, page));
}

TEST_CASE("read_guest: an error of the source comes through") {
  const GuestImage image = sample(std::make_shared<test::ThrowingSource>(content(), 1));
  Bytes bytes(10);
  CHECK(test::error_of([&] { read_guest(image, {0}, bytes); }) ==
        "m: offset 0x8: read: Input/output error");
}

}  // namespace
}  // namespace vmconvert
