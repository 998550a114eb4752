#include "vmconvert/model/run_list.h"

#include "support/image_bytes.h"
#include "support/test.h"

namespace vmconvert {
namespace {

using test::guest_range;

constexpr std::uint32_t kPage = 4096;

Run file_run(std::uint64_t page, std::uint64_t pages, std::uint64_t at,
             std::uint32_t stride = kPage, SourceId source = 0) {
  return {GuestRange::sized({page * kPage}, pages * kPage),
          InFile{.source = source, .stride = stride, .at = {at}}};
}

Run fill_run(std::uint64_t page, std::uint64_t pages, unsigned value = 0) {
  return {GuestRange::sized({page * kPage}, pages * kPage), Filled{static_cast<std::byte>(value)}};
}

/// The list that adding these runs in order gives.
RunList list_of(std::initializer_list<Run> runs) {
  RunListBuilder builder(kPage);
  for (const Run& run : runs) builder.add(run);
  RunList list = builder.finish();
  list.check_invariants();
  return list;
}

void check_runs(const RunList& list, std::initializer_list<Run> expected) {
  REQUIRE(list.runs().size() == expected.size());
  std::size_t i = 0;
  for (const Run& run : expected) {
    CAPTURE(i);
    CHECK(list.runs()[i].guest == run.guest);
    CHECK(list.runs()[i] == run);
    ++i;
  }
}

TEST_CASE("run list: an empty one has neither runs nor extents") {
  const RunList list = list_of({});
  CHECK(list.empty());
  CHECK(list.extents().empty());
  CHECK(list.total_bytes() == 0);
  CHECK(list_of({fill_run(3, 0)}).empty());
}

TEST_CASE("run list: contiguous pages become one run") {
  check_runs(
      list_of({file_run(0, 1, 100), file_run(1, 1, 100 + kPage), file_run(2, 3, 100 + 2 * kPage)}),
      {file_run(0, 5, 100)});
}

TEST_CASE("run list: pages behind headers of one size become one run") {
  check_runs(list_of({file_run(0, 1, 100), file_run(1, 1, 100 + 4104), file_run(2, 1, 100 + 8208),
                      file_run(3, 1, 100 + 12312)}),
             {file_run(0, 4, 100, 4104)});
}

TEST_CASE("run list: a stride may grow by a run and shrink never") {
  // The pair 0-1 has stride 4104, then a run of two such pages follows.
  check_runs(list_of({file_run(0, 1, 0), file_run(1, 1, 4104), file_run(2, 2, 8208, 4104)}),
             {file_run(0, 4, 0, 4104)});
  // Page 2 follows plainly: it begins a run of its own.
  check_runs(list_of({file_run(0, 1, 0), file_run(1, 1, 4104), file_run(2, 1, 8200)}),
             {file_run(0, 2, 0, 4104), file_run(2, 1, 8200)});
}

TEST_CASE("run list: pages far apart or backwards stay apart") {
  check_runs(list_of({file_run(0, 1, 0), file_run(1, 1, 2 * kPage)}), {file_run(0, 2, 0, 8192)});
  check_runs(list_of({file_run(0, 1, 0), file_run(1, 1, 2 * kPage + 1)}),
             {file_run(0, 1, 0), file_run(1, 1, 8193)});
  check_runs(list_of({file_run(0, 1, 8192), file_run(1, 1, 0)}),
             {file_run(0, 1, 8192), file_run(1, 1, 0)});
  check_runs(list_of({file_run(0, 1, 0), file_run(1, 1, 100)}),
             {file_run(0, 1, 0), file_run(1, 1, 100)});
}

TEST_CASE("run list: other source and other fill byte stay apart") {
  check_runs(list_of({file_run(0, 1, 0, kPage, 0), file_run(1, 1, kPage, kPage, 1)}),
             {file_run(0, 1, 0, kPage, 0), file_run(1, 1, kPage, kPage, 1)});
  check_runs(list_of({fill_run(0, 1, 0), fill_run(1, 1, 0), fill_run(2, 1, 7)}),
             {fill_run(0, 2, 0), fill_run(2, 1, 7)});
  check_runs(list_of({fill_run(0, 1), file_run(1, 1, 0)}), {fill_run(0, 1), file_run(1, 1, 0)});
}

TEST_CASE("run list: a gap in the guest separates runs and extents") {
  const RunList list = list_of({fill_run(0, 1), fill_run(2, 1), file_run(3, 1, 0)});
  check_runs(list, {fill_run(0, 1), fill_run(2, 1), file_run(3, 1, 0)});
  CHECK(list.extents() == std::vector{guest_range(0, kPage), guest_range(2 * kPage, 4 * kPage)});
  CHECK(list.total_bytes() == 3 * kPage);
}

TEST_CASE("run list: what was added last wins") {
  check_runs(list_of({file_run(0, 10, 0), fill_run(3, 2, 9)}),
             {file_run(0, 3, 0), fill_run(3, 2, 9), file_run(5, 5, 5 * kPage)});
  check_runs(list_of({fill_run(3, 2, 9), file_run(0, 10, 0)}), {file_run(0, 10, 0)});
  check_runs(list_of({file_run(0, 2, 0), fill_run(1, 2), file_run(0, 1, 50)}),
             {file_run(0, 1, 50), fill_run(1, 2)});
}

TEST_CASE("run list: a strided run is cut at page borders") {
  const std::uint32_t stride = 4104;
  check_runs(list_of({file_run(0, 6, 8, stride), fill_run(2, 1)}),
             {file_run(0, 2, 8, stride), fill_run(2, 1), file_run(3, 3, 8 + 3 * stride, stride)});
  // A page that is left alone has no stride.
  check_runs(list_of({file_run(0, 4, 8, stride), fill_run(1, 2)}),
             {file_run(0, 1, 8), fill_run(1, 2), file_run(3, 1, 8 + 3 * stride)});
}

TEST_CASE("run list: for_each_in cuts at the borders asked for") {
  const RunList list = list_of({file_run(0, 4, 0), fill_run(4, 2), file_run(8, 2, 999)});
  std::vector<Run> seen;
  const auto visit = [&](const Run& run) { seen.push_back(run); };
  list.for_each_in(guest_range(3 * kPage + 100, 9 * kPage), visit);
  REQUIRE(seen.size() == 3);
  CHECK(seen[0].guest == guest_range(3 * kPage + 100, 4 * kPage));
  CHECK(std::get<InFile>(seen[0].backing).at.value == 3 * kPage + 100);
  CHECK(seen[1] == fill_run(4, 2));
  CHECK(seen[2] == file_run(8, 1, 999));
  seen.clear();
  list.for_each_in(guest_range(6 * kPage, 8 * kPage), visit);
  list.for_each_in(guest_range(10 * kPage, 11 * kPage), visit);
  list.for_each_in(guest_range(kPage, kPage), visit);
  CHECK(seen.empty());
}

TEST_CASE("run list: for_each_in cuts a strided run at any byte into whole pages and pieces") {
  const std::uint32_t stride = 4104;
  const RunList list = list_of({file_run(1, 4, 8, stride)});
  std::vector<Run> seen;
  list.for_each_in(guest_range(kPage + 100, 4 * kPage + 200),
                   [&](const Run& run) { seen.push_back(run); });
  const auto piece = [](std::uint64_t begin, std::uint64_t end, std::uint64_t at,
                        std::uint32_t step) {
    return Run{guest_range(begin, end), InFile{.source = 0, .stride = step, .at = {at}}};
  };
  CHECK(seen == std::vector{piece(kPage + 100, 2 * kPage, 8 + 100, kPage),
                            piece(2 * kPage, 4 * kPage, 8 + stride, stride),
                            piece(4 * kPage, 4 * kPage + 200, 8 + 3 * stride, kPage)});
  seen.clear();
  list.for_each_in(guest_range(2 * kPage + 5, 2 * kPage + 6),
                   [&](const Run& run) { seen.push_back(run); });
  CHECK(seen == std::vector{piece(2 * kPage + 5, 2 * kPage + 6, 8 + stride + 5, kPage)});
}

TEST_CASE("run list: runs smaller than a page are kept to the byte") {
  const auto plain = [](std::uint64_t begin, std::uint64_t end, std::uint64_t at) {
    return Run{guest_range(begin, end), InFile{.source = 0, .stride = kPage, .at = {at}}};
  };
  check_runs(list_of({plain(0, 512, 100), plain(512, 1000, 612), plain(1000, 1001, 2000)}),
             {plain(0, 1000, 100), plain(1000, 1001, 2000)});
  check_runs(list_of({plain(0, 8192, 0), plain(100, 200, 50'000)}),
             {plain(0, 100, 0), plain(100, 200, 50'000), plain(200, 8192, 200)});
}

TEST_CASE("run list: the top of the address space is an address like others") {
  const std::uint64_t last = ~std::uint64_t{0} - kPage + 1;
  RunListBuilder builder(kPage);
  builder.add({guest_range(last - kPage, last), Filled{}});
  builder.add({guest_range(0, kPage), Filled{}});
  const RunList list = builder.finish();
  list.check_invariants();
  CHECK(list.extents() == std::vector{guest_range(0, kPage), guest_range(last - kPage, last)});
}

TEST_CASE("run list builder: is empty after finish") {
  RunListBuilder builder(kPage);
  builder.add(fill_run(5, 1));
  builder.add(fill_run(3, 1));
  CHECK(builder.finish().runs().size() == 2);
  CHECK(builder.finish().empty());
  builder.add(fill_run(1, 1));
  CHECK(builder.finish().runs().size() == 1);
}

TEST_CASE("run list: broken promises are found") {
  RunListBuilder builder(kPage);
  builder.add(file_run(0, 2, 0, kPage - 1));
  CHECK_THROWS_AS(builder.finish().check_invariants(), std::logic_error);
  builder.add({guest_range(1, 1 + 2 * kPage), InFile{.source = 0, .stride = 5000, .at = {0}}});
  CHECK_THROWS_AS(builder.finish().check_invariants(), std::logic_error);
}

}  // namespace
}  // namespace vmconvert
