#include <optional>
#include <random>

#include "support/test.h"
#include "vmconvert/model/run_list.h"

namespace vmconvert {
namespace {

constexpr std::uint32_t kPage = 4096;

/// What a run list stands for, kept page by page.
class PageModel {
 public:
  explicit PageModel(std::size_t pages) : pages_(pages) {}

  void add(const Run& run) {
    const std::uint64_t first = run.guest.begin().value / kPage;
    for (std::uint64_t i = 0; i < run.guest.size() / kPage; ++i) pages_[first + i] = page(run, i);
  }

  /// True if the list says the same of each page, in any division into runs.
  void check(const RunList& list) const {
    list.check_invariants();
    std::vector<std::optional<Backing>> seen(pages_.size());
    for (const Run& run : list) {
      REQUIRE(run.guest.begin().value % kPage == 0);
      for (std::uint64_t i = 0; i < run.guest.size() / kPage; ++i) {
        seen[run.guest.begin().value / kPage + i] = page(run, i);
      }
    }
    for (std::size_t i = 0; i < pages_.size(); ++i) {
      if (seen[i] == pages_[i]) continue;
      CAPTURE(i);
      FAIL("page differs");
    }
    check_extents(list);
  }

  /// The part [begin, end), in pages, asked for alone.
  void check_part(const RunList& list, std::uint64_t begin, std::uint64_t end) const {
    std::uint64_t covered = 0, expected = 0;
    std::uint64_t at = begin * kPage;
    list.for_each_in(GuestRange::between({begin * kPage}, {end * kPage}), [&](const Run& run) {
      REQUIRE(run.guest.begin().value >= at);
      at = run.guest.end().value;
      for (std::uint64_t i = 0; i < run.guest.size() / kPage; ++i, ++covered) {
        REQUIRE(page(run, i) == pages_[run.guest.begin().value / kPage + i]);
      }
    });
    REQUIRE(at <= end * kPage);
    for (std::uint64_t i = begin; i < end; ++i) expected += pages_[i] ? 1U : 0U;
    REQUIRE(covered == expected);
  }

 private:
  using Backing = std::variant<InFile, Filled>;

  static Backing page(const Run& run, std::uint64_t i) {
    if (const auto* fill = std::get_if<Filled>(&run.backing)) return *fill;
    InFile file = std::get<InFile>(run.backing);
    file.at = file.at + i * file.stride;
    file.stride = kPage;
    return file;
  }

  void check_extents(const RunList& list) const {
    std::vector<GuestRange> expected;
    for (std::size_t i = 0; i < pages_.size(); ++i) {
      if (!pages_[i]) continue;
      const GuestRange range = GuestRange::sized({i * kPage}, kPage);
      if (!expected.empty() && expected.back().end() == range.begin()) {
        expected.back() = GuestRange::between(expected.back().begin(), range.end());
      } else {
        expected.push_back(range);
      }
    }
    REQUIRE(list.extents() == expected);
  }

  std::vector<std::optional<Backing>> pages_;
};

/// Runs as streams give them: pages behind headers, sometimes plain, sometimes filled.
class RandomRuns {
 public:
  RandomRuns(unsigned seed, std::uint64_t pages) : random_(seed), pages_(pages) {}

  std::uint64_t below(std::uint64_t n) { return random_() % n; }

  Run next(std::uint64_t longest) {
    const std::uint64_t count = 1 + below(longest);
    // Often right behind the run before, as in a real stream.
    std::uint64_t begin =
        below(3) != 0 && last_end_ + count <= pages_ ? last_end_ : below(pages_ - count + 1);
    last_end_ = begin + count;
    const GuestRange guest = GuestRange::sized({begin * kPage}, count * kPage);
    if (below(4) == 0) return {guest, Filled{static_cast<std::byte>(below(2) * 0xee)}};
    constexpr std::array<std::uint32_t, 4> kStrides{kPage, 4104, 4111, 2 * kPage};
    const std::uint32_t stride = count == 1 ? kPage : kStrides[below(kStrides.size())];
    if (below(8) == 0) at_ = below(1 << 30);
    const Run run{guest, InFile{.source = static_cast<SourceId>(below(16) == 0 ? 1 : 0),
                                .stride = stride,
                                .at = {at_}}};
    at_ += count * stride + (below(2) == 0 ? 0 : 8);
    return run;
  }

 private:
  std::mt19937_64 random_;
  std::uint64_t pages_;
  std::uint64_t last_end_ = 0;
  std::uint64_t at_ = 1000;
};

TEST_CASE("run list builder: random overlapping runs are what a table of pages would be") {
  for (unsigned seed = 0; seed < 400; ++seed) {
    CAPTURE(seed);
    const std::uint64_t pages = 1 + seed % 97;
    RandomRuns runs(seed, pages);
    RunListBuilder builder(kPage);
    PageModel model(pages);
    const std::uint64_t count = runs.below(300);
    for (std::uint64_t i = 0; i < count; ++i) {
      const Run run = runs.next(std::min<std::uint64_t>(pages, 12));
      builder.add(run);
      model.add(run);
    }
    const RunList list = builder.finish();
    model.check(list);
    for (int i = 0; i < 20; ++i) {
      const std::uint64_t begin = runs.below(pages + 1);
      model.check_part(list, begin, begin + runs.below(pages + 1 - begin));
    }
  }
}

TEST_CASE("run list builder: the result is right after each added run") {
  for (unsigned seed = 1000; seed < 1010; ++seed) {
    CAPTURE(seed);
    RandomRuns runs(seed, 40);
    PageModel model(40);
    std::vector<Run> added;
    for (int i = 0; i < 60; ++i) {
      added.push_back(runs.next(8));
      model.add(added.back());
      RunListBuilder builder(kPage);
      for (const Run& run : added) builder.add(run);
      model.check(builder.finish());
    }
  }
}

TEST_CASE("run list builder: a live save that repeats its pages is merged on the way") {
  constexpr std::uint64_t kPages = 30'000;
  RandomRuns runs(7, kPages);
  RunListBuilder builder(kPage);
  PageModel model(kPages);
  // Several times what may wait before a merge.
  for (int i = 0; i < 150'000; ++i) {
    const Run run = runs.next(i % 1000 == 0 ? 500 : 2);
    builder.add(run);
    model.add(run);
  }
  const RunList list = builder.finish();
  model.check(list);
  for (int i = 0; i < 200; ++i) {
    const std::uint64_t begin = runs.below(kPages);
    model.check_part(list, begin, begin + runs.below(kPages - begin));
  }
}

TEST_CASE("run list builder: runs in descending order are as good as ascending ones") {
  RunListBuilder builder(kPage);
  PageModel model(40'000);
  for (std::uint64_t i = 40'000; i-- > 0;) {
    const Run run{GuestRange::sized({i * kPage}, kPage),
                  InFile{.source = 0, .stride = kPage, .at = {i * 4104}}};
    builder.add(run);
    model.add(run);
  }
  const RunList list = builder.finish();
  model.check(list);
  CHECK(list.runs().size() == 1);
}

}  // namespace
}  // namespace vmconvert
