#include "vmconvert/convert/copy_engine.h"

#include <fcntl.h>

#include <thread>

#include "support/image_bytes.h"
#include "support/qevm_builder.h"
#include "support/random_image.h"
#include "support/scratch_folder.h"
#include "support/test.h"

namespace vmconvert {
namespace {

using test::Bytes;
using test::CountingProgress;
using test::random_image;
using test::random_plan;
using test::RandomImageOptions;

TEST_CASE("copy engine: random plans of random images are what the runs say") {
  for (unsigned seed = 0; seed < 150; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    const GuestImage image = random_image(random);
    const OutputPlan plan = random_plan(random, image);
    REQUIRE(test::executed(plan, image) == test::naive_output(plan, image));
  }
}

TEST_CASE("copy engine: one thread and many write the same") {
  for (unsigned seed = 500; seed < 506; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    // Several units, so that their borders fall into runs, literals and gaps.
    const GuestImage image = random_image(random, {.pages = 12'000, .longest_run = 3000});
    const OutputPlan plan = random_plan(random, image);
    const Bytes one = test::executed(plan, image, 1);
    REQUIRE(one == test::naive_output(plan, image));
    for (const unsigned threads : {2U, 3U, 8U})
      REQUIRE(test::executed(plan, image, threads) == one);
  }
}

TEST_CASE("copy engine: a unit never begins within a page of a strided run") {
  // The literal shifts every page off the output's page borders.
  RunListBuilder runs(4096);
  const std::uint64_t pages = 3 * 4096 + 5;
  runs.add({GuestRange::sized({0}, pages * 4096), InFile{.source = 0, .stride = 4105, .at = {3}}});
  GuestImage image;
  image.sources = {std::make_shared<MemorySource>("m", test::page_of(1, 3 + pages * 4105))};
  image.runs = runs.finish();
  for (const unsigned shift : {1U, 8U, 32U, 4095U, 4097U}) {
    CAPTURE(shift);
    PlanBuilder builder;
    builder.literal(Bytes(shift, std::byte{0x77}));
    builder.guest(GuestRange::sized({0}, pages * 4096));
    const OutputPlan plan = std::move(builder).finish();
    REQUIRE(test::executed(plan, image, 2) == test::naive_output(plan, image));
  }
}

TEST_CASE("copy engine: progress ends at the size of the plan") {
  std::mt19937_64 random(3);
  const GuestImage image = random_image(random, {.pages = 9000, .longest_run = 2000});
  const OutputPlan plan = random_plan(random, image);
  for (const unsigned threads : {1U, 4U}) {
    MemorySink sink;
    CountingProgress progress;
    execute(plan, image, sink, threads, progress);
    CHECK(progress.total() == plan.size);
    CHECK(progress.done() == plan.size);
  }
}

TEST_CASE("copy engine: an empty plan makes an empty output") {
  const GuestImage image;
  MemorySink sink;
  CountingProgress progress;
  execute({}, image, sink, 4, progress);
  CHECK(sink.bytes().empty());
}

TEST_CASE("copy engine: a file is the same whether sparse or not") {
  const test::ScratchFolder folder;
  for (unsigned seed = 700; seed < 710; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    const GuestImage image = random_image(random);
    const OutputPlan plan = random_plan(random, image);
    const Bytes expected = test::naive_output(plan, image);
    for (const bool sparse : {true, false}) {
      const std::string path = folder.path("f");
      const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
      FileSink sink(fd.get(), path, sparse);
      CountingProgress progress;
      execute(plan, image, sink, 2, progress);
      REQUIRE(test::read_file(path) == expected);
    }
  }
}

TEST_CASE("copy engine: a pipe gets the same bytes in order") {
  for (unsigned seed = 800; seed < 806; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    const GuestImage image = random_image(random);
    const OutputPlan plan = random_plan(random, image);
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const UniqueFd from(ends[0]);
    Bytes received;
    std::jthread reader([&] {
      Bytes chunk(65536);
      for (ssize_t n = 0; (n = ::read(from.get(), chunk.data(), chunk.size())) > 0;) {
        received.insert(received.end(), chunk.begin(), chunk.begin() + n);
      }
    });
    {
      const UniqueFd to(ends[1]);
      StreamSink sink(to.get(), "pipe");
      CountingProgress progress;
      execute(plan, image, sink, 4, progress);  // the sink allows for one thread only
    }
    reader.join();
    REQUIRE(received == test::naive_output(plan, image));
  }
}

TEST_CASE("data_bytes: counts what is not known to be zero") {
  RunListBuilder runs(4096);
  runs.add({GuestRange::sized({0}, 8192), InFile{.source = 0, .stride = 4096, .at = {0}}});
  runs.add({GuestRange::sized({8192}, 4096), Filled{std::byte{0}}});
  runs.add({GuestRange::sized({12288}, 4096), Filled{std::byte{1}}});
  GuestImage image;
  image.runs = runs.finish();
  PlanBuilder builder;
  builder.literal(Bytes(100));
  builder.align(4096);
  builder.guest(GuestRange::sized({0}, 16384));
  builder.guest(GuestRange::sized({4096}, 8192));
  const OutputPlan plan = std::move(builder).finish();
  CHECK(data_bytes(plan, image) == 100 + 3 * 4096 + 4096);
}

}  // namespace
}  // namespace vmconvert
