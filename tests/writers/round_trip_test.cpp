#include "support/random_image.h"
#include "support/test.h"
#include "writers/writing.h"

namespace vmconvert::test {
namespace {

/// Guest memory of a file, found again by what its own headers say.
struct Region {
  std::uint64_t gpa;
  Bytes bytes;
};

std::uint64_t le64_at(const Bytes& file, std::uint64_t at) {
  return load<std::uint64_t>(std::span(file).subspan(at), std::endian::little);
}

std::vector<Region> regions_of_elf(const Bytes& file) {
  std::vector<Region> regions;
  const auto count = load<std::uint16_t>(std::span(file).subspan(56), std::endian::little);
  for (std::uint64_t i = 1; i < count; ++i) {
    const std::uint64_t header = 64 + 56 * i;
    regions.push_back({le64_at(file, header + 24),
                       slice(file, le64_at(file, header + 8), le64_at(file, header + 32))});
  }
  return regions;
}

std::vector<Region> regions_of_lime(const Bytes& file) {
  std::vector<Region> regions;
  for (std::uint64_t at = 0; at < file.size();) {
    const std::uint64_t begin = le64_at(file, at + 8), last = le64_at(file, at + 16);
    regions.push_back({begin, slice(file, at + 32, last - begin + 1)});
    at += 32 + last - begin + 1;
  }
  return regions;
}

std::vector<Region> regions_of_raw(const Bytes& file, const GuestImage& image) {
  std::vector<Region> regions;
  for (const GuestRange extent : image.runs.extents()) {
    regions.push_back({extent.begin().value, slice(file, extent.begin().value, extent.size())});
  }
  return regions;
}

void check_plan(const OutputPlan& plan) {
  std::uint64_t at = 0;
  for (const Part& part : plan.parts) {
    REQUIRE(part.at.value >= at);
    REQUIRE(part.size != 0);
    at = part.end().value;
  }
  REQUIRE(plan.size >= at);
}

TEST_CASE("writers: what was written is read again as the same memory") {
  for (unsigned seed = 0; seed < 40; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    const GuestImage image = random_image(random, {.pages = 300, .longest_run = 60});
    const std::vector<GuestRange> extents = image.runs.extents();
    for (const OutputFormat& format : all_writers()) {
      CAPTURE(format.name);
      const OutputPlan plan = format.plan(image, {});
      check_plan(plan);
      const Bytes file = executed(plan, image, 2);
      const auto regions = format.name == "elf"    ? regions_of_elf(file)
                           : format.name == "lime" ? regions_of_lime(file)
                                                   : regions_of_raw(file, image);
      REQUIRE(regions.size() == extents.size());
      for (std::size_t i = 0; i < regions.size(); ++i) {
        REQUIRE(regions[i].gpa == extents[i].begin().value);
        REQUIRE(regions[i].bytes == guest_bytes(image, regions[i].gpa, extents[i].size()));
      }
    }
  }
}

}  // namespace
}  // namespace vmconvert::test
