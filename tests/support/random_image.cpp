#include "support/random_image.h"

#include <algorithm>
#include <array>

#include "support/qevm_builder.h"

namespace vmconvert::test {
namespace {

constexpr std::uint32_t kPage = 4096;

/// Random content with zero stretches of many sizes in it.
Bytes source_content(std::mt19937_64& random, std::size_t size) {
  const Bytes tile = page_of(random() % 1000, 65'537);  // a prime: no two pages are alike
  Bytes bytes(size);
  for (std::size_t at = 0; at < size; at += tile.size()) {
    std::copy_n(tile.begin(), std::min(tile.size(), size - at),
                bytes.begin() + static_cast<std::ptrdiff_t>(at));
  }
  for (std::size_t at = 0; at < size;) {
    const std::size_t n = std::min<std::size_t>(size - at, random() % 40'000);
    if (random() % 3 == 0) {
      std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), n, std::byte{0});
    }
    at += n + 1;
  }
  return bytes;
}

std::variant<InFile, Filled> random_backing(std::mt19937_64& random, const GuestImage& image,
                                            std::uint64_t pages) {
  if (random() % 3 == 0) return Filled{static_cast<std::byte>(random() % 2 * 0xa5)};
  constexpr std::array<std::uint32_t, 5> kStrides{kPage, kPage, 4104, 5000, 2 * kPage};
  const std::uint32_t stride = pages == 1 ? kPage : kStrides[random() % kStrides.size()];
  const auto source = static_cast<SourceId>(random() % image.sources.size());
  const std::uint64_t span = (pages - 1) * stride + kPage;
  // Often near the run before, so that one read brings both.
  const std::uint64_t room = image.sources[source]->size() - span;
  return InFile{
      .source = source,
      .stride = stride,
      .at = {random() % 2 == 0 ? random() % (room + 1) : std::min(room, random() % 300'000)}};
}

}  // namespace

GuestImage random_image(std::mt19937_64& random, const RandomImageOptions& options) {
  GuestImage image;
  const std::size_t size = 2 * kPage * options.longest_run + 1'000'000;
  for (int i = 0; i < 3; ++i) {
    image.sources.push_back(std::make_shared<MemorySource>("source " + std::to_string(i),
                                                           source_content(random, size)));
  }
  RunListBuilder runs(kPage);
  for (std::uint64_t page = random() % 3; page < options.pages;) {
    const std::uint64_t longest = random() % 2 == 0 ? 3 : options.longest_run;
    const std::uint64_t pages = 1 + random() % longest;
    runs.add(
        {GuestRange::sized({page * kPage}, pages * kPage), random_backing(random, image, pages)});
    page += pages + (random() % 8 == 0 ? random() % 20 : 0);
  }
  image.runs = runs.finish();
  return image;
}

OutputPlan random_plan(std::mt19937_64& random, const GuestImage& image) {
  PlanBuilder plan;
  for (const GuestRange extent : image.runs.extents()) {
    switch (random() % 4) {
      case 0:
        plan.align(kPage);
        break;
      case 1:
        plan.advance_to(plan.position() + random() % 100'000);
        break;
      default:
        plan.literal(page_of(random() % 100, random() % 10'000));
    }
    plan.guest(extent);
    // Any part of it again, pages cut wherever.
    const std::uint64_t first = random() % extent.size();
    const std::uint64_t count = 1 + random() % (extent.size() - first);
    if (random() % 4 == 0) plan.guest(GuestRange::sized(extent.begin() + first, count));
  }
  if (random() % 2 == 0) plan.advance_to(plan.position() + random() % 10'000);
  return std::move(plan).finish();
}

}  // namespace vmconvert::test
