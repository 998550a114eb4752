#include "support/failing_io.h"
#include "support/image_bytes.h"
#include "support/qevm_builder.h"
#include "support/test.h"

namespace vmconvert {
namespace {

using test::CountingProgress;
using test::ThrowingSink;
using test::ThrowingSource;

/// Runs `attempt(n)` for n = 1, 2, ... until it succeeds: until then it has to throw an io Error.
/// Beyond 16 in steps of a sixteenth, since every attempt copies the whole image.
/// @returns the n that succeeded
template <class Attempt>
std::uint64_t fail_until_success(const Attempt& attempt) {
  for (std::uint64_t n = 1;; n += 1 + n / 16) {
    try {
      attempt(n);
      return n;
    } catch (const Error& error) {
      REQUIRE(error.kind() == ErrorKind::io);
    }
  }
}

struct Sample {
  GuestImage image;
  OutputPlan plan;
};

/// Three units of work in few and long runs: file content, strided or plain, and zeros.
Sample sample() {
  constexpr std::uint64_t kPages = 9000, kRunPages = 600;
  RunListBuilder runs(4096);
  for (std::uint64_t page = 0; page < kPages; page += kRunPages) {
    const GuestRange guest = GuestRange::sized({page * 4096}, kRunPages * 4096);
    const std::uint32_t stride = page % 1200 == 0 ? 4104 : 4096;
    if (page % 1800 == 0) {
      runs.add({guest, Filled{std::byte{0}}});
    } else {
      runs.add({guest, InFile{.source = 0, .stride = stride, .at = {page}}});
    }
  }
  Sample result;
  result.image.sources.push_back(
      std::make_shared<MemorySource>("source", test::page_of(1, kRunPages * 4104 + kPages)));
  result.image.runs = runs.finish();
  PlanBuilder plan;
  plan.literal(test::Bytes(100, std::byte{0x11}));
  plan.guest(GuestRange::sized({0}, kPages * 4096));
  result.plan = std::move(plan).finish();
  return result;
}

TEST_CASE("copy engine: each failing read ends with its error") {
  const Sample good = sample();
  const test::Bytes expected = test::naive_output(good.plan, good.image);
  for (const unsigned threads : {1U, 3U}) {
    const std::uint64_t tries = fail_until_success([&](std::uint64_t n) {
      GuestImage image = good.image;
      std::vector<std::shared_ptr<ThrowingSource>> failing;
      for (auto& source : image.sources) {
        failing.push_back(std::make_shared<ThrowingSource>(source, n));
        source = failing.back();
      }
      MemorySink sink;
      CountingProgress progress;
      execute(good.plan, image, sink, threads, progress);
      for (const auto& source : failing) REQUIRE(!source->failed());
      REQUIRE(sink.bytes() == expected);
    });
    CHECK(tries > 3);
  }
}

TEST_CASE("copy engine: each failing write ends with its error") {
  const Sample good = sample();
  const test::Bytes expected = test::naive_output(good.plan, good.image);
  for (const unsigned threads : {1U, 3U}) {
    const std::uint64_t tries = fail_until_success([&](std::uint64_t n) {
      MemorySink memory;
      ThrowingSink sink(memory, n);
      CountingProgress progress;
      execute(good.plan, good.image, sink, threads, progress);
      REQUIRE(!sink.failed());
      REQUIRE(memory.bytes() == expected);
    });
    CHECK(tries > 3);
  }
}

TEST_CASE("copy engine: the first error is the one that is told") {
  const Sample good = sample();
  MemorySink memory;
  ThrowingSink sink(memory, 1);
  CountingProgress progress;
  CHECK(test::error_of([&] { execute(good.plan, good.image, sink, 2, progress); }) ==
        "output: set file size: No space left on device");
}

}  // namespace
}  // namespace vmconvert
