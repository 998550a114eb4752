#include "vmconvert/model/xen_search.h"

#include <algorithm>
#include <atomic>
#include <random>

#include "all_formats.h"
#include "support/collecting_diagnostics.h"
#include "support/image_bytes.h"
#include "support/test.h"
#include "support/xen_guest.h"
#include "vmconvert/base/error.h"
#include "vmconvert/convert/choose_format.h"
#include "vmconvert/io/input.h"

namespace vmconvert::test {
namespace {

struct Result {
  GuestImage image;
  std::string error;
  CollectingDiagnostics diagnostics;

  explicit Result(GuestImage from, XenLayout layout = XenLayout::resolved)
      : image(std::move(from)) {
    try {
      resolve_found_xen("input", layout, image, diagnostics);
    } catch (const Error& e) {
      CHECK(e.kind() == ErrorKind::unsupported);
      error = e.what();
    }
  }
  std::string fact(std::string_view key) const {
    for (const Fact& fact : image.metadata.facts) {
      if (fact.key == key) return fact.value;
    }
    return "";
  }
  bool decided(std::string_view text) const {
    return diagnostics.has(Diagnostics::Level::decision, text);
  }
};

void check_translated(const XenGuest& guest, const Result& result) {
  REQUIRE(result.error == "");
  for (const std::uint64_t pfn : guest.pfns()) {
    CAPTURE(pfn);
    CHECK(guest_bytes(result.image, pfn * 4096, 4096) == guest.translated(pfn));
  }
}

const std::string kRefusal =
    "input: looks like memory of a Xen PV guest whose page tables hold machine frames, but ";
const std::string kWayOut = "; --xen-layout asis leaves its page tables as they are";

TEST_CASE("xen search: every form of the p2m is found, and page tables translated") {
  const struct {
    P2mKind kind;
    std::string name;
  } cases[] = {{P2mKind::linear, "linear list at 0xffffc94000000000"},
               {P2mKind::tree, "tree of pointers"},
               {P2mKind::flat, "flat table"},
               {P2mKind::frame_list, "frame list of the toolstack"},
               {P2mKind::scattered, "pages in the order of the direct map"}};
  for (const bool old : {false, true}) {
    for (const auto& c : cases) {
      CAPTURE(old);
      CAPTURE(c.name);
      const XenGuest guest({.p2m = c.kind, .old_direct_map = old});
      const Result result(guest.image());
      check_translated(guest, result);
      CHECK(result.fact("xen.p2m") == c.name + ", found in the guest's memory");
      CHECK(result.fact("xen.p2m-frames") == "4096");
      CHECK(result.fact("xen.tables-translated") == std::to_string(guest.tables()));
      CHECK(result.fact("xen.entries-cleared") == "0");
      CHECK(result.decided("p2m: " + c.name + ", 4096 frames in 8 pages"));
      CHECK(
          result.decided("the p2m agrees with 5 pages that tell their frame, and with the direct "
                         "map in 4096 of 4096 frames"));
      CHECK(result.image.xen->type == XenGuestType::pv);
      CHECK(result.image.xen->tables == XenTables::pseudo_physical);
    }
  }
}

TEST_CASE("xen search: a ballooned guest with dozens of holes") {
  for (const P2mKind kind : {P2mKind::linear, P2mKind::tree, P2mKind::scattered}) {
    XenGuestPlan plan{.p2m = kind, .pages = 8 * 512 - 100};
    for (std::uint64_t i = 0; i < 40; ++i)
      plan.ballooned.push_back({0xa00 + 11 * i, 0xa07 + 11 * i});
    plan.ballooned.push_back({0xc00, 0xdf8});  // leaves too few frames to tell its page of the p2m
    const XenGuest guest(plan);
    const Result result(guest.image());
    check_translated(guest, result);
    const std::uint64_t holes = 40 * 7 + 0x1f8 + 100;
    CHECK(result.fact("xen.p2m-frames") == std::to_string(4096 - holes));
  }
}

TEST_CASE("xen search: identity and foreign entries are no frames of the guest") {
  const XenGuest guest({.foreign = {0xa01, 0xa02, 0xb00}, .identity = {0xa10, 0xa11}});
  const Result result(guest.image());
  check_translated(guest, result);
  CHECK(result.fact("xen.p2m-identity") == "2");
  CHECK(result.fact("xen.p2m-foreign") == "3");
  CHECK(result.fact("xen.entries-cleared") == "3");
  CHECK(result.decided("2 entries of the p2m are identity, 3 of other guests: left out"));
}

TEST_CASE(
    "xen search: of a machine frame that two pages have the lower one counts, and it is told") {
  const XenGuest guest({.same_frame = {{0xa01, 0xa05}}});
  const Result result(guest.image());
  check_translated(guest, result);
  CHECK(result.diagnostics.has(Diagnostics::Level::warning,
                               "1 machine frame with two pages each; the lower pfn counts"));
}

TEST_CASE("xen search: copies of page tables and of the p2m lead nobody astray") {
  XenGuest guest({});
  guest.copy_page(XenGuest::kL4, 0x711);
  guest.copy_page(XenGuest::kOtherL4, 0x712);
  guest.copy_page(guest.leaf(3), 0x713);
  guest.copy_page(XenGuest::l1(3), 0x240);
  guest.copy_page(XenGuest::kL2, 0x142 + 0x200);
  guest.copy_page(guest.leaf(5), 0x714);
  for (std::size_t slot = 0; slot < 40; ++slot) guest.page(0x714)[slot * 3] += 7;  // stale
  const Result result(guest.image());
  check_translated(guest, result);
  CHECK(result.decided("2 pages hold copies of page-table roots"));
}

TEST_CASE("xen search: a capture of a running guest may be torn in a few places") {
  XenGuest guest({});
  guest.page(guest.leaf(5))[9] = 0x70000;
  guest.page(XenGuest::l1(6))[10] = 0;
  const Result result(guest.image());
  REQUIRE(result.error == "");
  CHECK(result.decided("with the direct map in 4094 of 4095 frames"));
  CHECK(result.fact("xen.entries-cleared") == "1");
}

TEST_CASE("xen search: tables that are not in the image are not needed") {
  XenGuest guest({});
  guest.remove_page(XenGuest::l1(6));
  const Result result(guest.image());
  check_translated(guest, result);
}

TEST_CASE("xen search: an image with translated page tables is left alone") {
  const XenGuest guest({});
  GuestImage image = guest.translated_image();
  const Result plain(image);
  CHECK(plain.error == "");
  CHECK(plain.diagnostics.of(Diagnostics::Level::decision).empty());
  CHECK_FALSE(plain.image.xen);

  // An L4 that is no longer in use keeps its machine frames.
  GuestImage stale = guest.image();
  RunListBuilder runs(4096);
  for (const Run& run : image.runs) runs.add(run);
  stale.runs.for_each_in(GuestRange::sized({XenGuest::kOtherL4 * 4096}, 4096), [&](const Run& run) {
    InFile file = std::get<InFile>(run.backing);
    file.source = 1;
    runs.add({GuestRange::sized({0x9a0 * 4096}, 4096), file});
  });
  image.sources.push_back(stale.sources.front());
  image.runs = runs.finish();
  const Result result(image);
  CHECK(result.error == "");
  CHECK_FALSE(result.image.xen);
  CHECK(result.fact("xen.page-tables") == "guest frames");
  CHECK(
      result.decided("memory of a Xen PV guest whose page tables hold its own frames: 1 page with "
                     "machine frames are page tables no longer in use"));
  CHECK(guest_bytes(result.image, XenGuest::kL4 * 4096, 4096) == guest.translated(XenGuest::kL4));
}

TEST_CASE("xen search: the memory of a whole machine that runs Xen is left alone") {
  XenGuest guest({});
  for (const std::uint64_t pfn : {XenGuest::kL4, XenGuest::kUserL4, XenGuest::kOtherL4})
    guest.page(pfn)[258] = (guest.page(pfn)[258] & ~std::uint64_t{0x000ffffffffff000}) | pfn << 12;
  const Result result(guest.image());
  CHECK(result.error == "");
  CHECK_FALSE(result.image.xen);
  CHECK(result.diagnostics.of(Diagnostics::Level::decision).empty());
}

TEST_CASE("xen search: CR3 in notes of a vmcore is translated, unless machine frames are wanted") {
  const XenGuest guest({});
  for (const XenLayout layout : {XenLayout::resolved, XenLayout::machine}) {
    GuestImage image = guest.image();
    const auto cr3 = ByteWriter().le64(guest.mfn(XenGuest::kOtherL4) << 12).bytes();
    Note note{"QEMU", 0, Bytes(440)};
    std::copy(cr3.begin(), cr3.end(), note.desc.begin() + 416);
    image.notes = {note, {"QEMU", 0, Bytes(100)}};
    const Result result(std::move(image), layout);
    REQUIRE(result.error == "");
    const auto expected =
        layout == XenLayout::machine ? cr3 : ByteWriter().le64(XenGuest::kOtherL4 << 12).bytes();
    const Bytes& desc = result.image.notes.front().desc;
    CHECK(std::equal(expected.begin(), expected.end(), desc.begin() + 416));
  }
}

TEST_CASE("xen search: what cannot be told with certainty is refused") {
  XenGuest no_list({.p2m = P2mKind::scattered});
  for (std::uint64_t k = 0; k < 8; ++k) no_list.remove_page(no_list.leaf(k));
  CHECK(Result(no_list.image()).error ==
        kRefusal + "it has no p2m with the frames by which its kernel maps memory" + kWayOut);

  const XenGuest no_seeds({.start_info = false, .seeds = false});
  CHECK(Result(no_seeds.image()).error ==
        kRefusal + "which of its pages the pages of its p2m are about cannot be told" + kWayOut);

  XenGuest differs({});
  for (std::uint64_t k = 0; k < 8; ++k) {
    for (std::size_t i = 1; i <= 30; ++i) differs.page(differs.leaf(k))[i * 16 + 6] += 0x600000;
  }
  CHECK(Result(differs.image()).error ==
        kRefusal + "its p2m and its page tables differ in 240 of 4096 frames" + kWayOut);

  const XenGuest no_banner({.banner = false});
  CHECK(Result(no_banner.image()).error ==
        kRefusal + "no kernel is reached through its page tables" + kWayOut);

  XenGuest crowd({});
  for (std::uint64_t i = 0; i < 4300; ++i) crowd.copy_page(crowd.leaf(1), 0x2000 + i);
  CHECK(Result(crowd.image()).error ==
        kRefusal + "more pages look like page tables or its p2m than a guest can have" + kWayOut);
}

TEST_CASE("xen search: tables of the direct map that cannot be found") {
  XenGuest guest({.pages = 16 * 512});
  guest.page(XenGuest::kL2)[100] = 0x7000067;  // a frame that no page has
  const Result result(guest.image());
  CHECK(result.error ==
        kRefusal + "1 of 17 page tables that map all of its memory cannot be found" + kWayOut);
}

TEST_CASE(
    "xen search: raw and LiME images are searched when they are read, unless they stay as is") {
  const XenGuest guest({.pages = 6 * 512});
  const Bytes raw = guest.raw();
  ByteWriter lime;
  lime.le32(0x4c694d45).le32(1).le64(0).le64(raw.size() - 1).le64(0).append(raw);
  const std::vector<std::pair<std::string, Bytes>> inputs{{"raw", raw}, {"", lime.bytes()}};
  for (const auto& [from, bytes] : inputs) {
    CAPTURE(from);
    const auto source = std::make_shared<MemorySource>("input", bytes);
    const Format& format = choose_format(all_formats(), from, *source);
    for (const XenLayout layout : {XenLayout::resolved, XenLayout::machine, XenLayout::asis}) {
      ReadOptions options;
      options.xen_layout = layout;
      CollectingDiagnostics diagnostics;
      const GuestImage image =
          read_image(format, Input(source, false, nullptr), options, diagnostics);
      CHECK(image.xen.has_value() == (layout != XenLayout::asis));
      const Bytes page = guest_bytes(image, XenGuest::kL2 * 4096, 4096);
      CHECK((page == guest.translated(XenGuest::kL2)) == (layout != XenLayout::asis));
    }
  }
}

/// An image of these pages alone.
GuestImage image_with(const std::vector<std::pair<std::uint64_t, Bytes>>& pages) {
  GuestImage image;
  Bytes content;
  RunListBuilder runs(4096);
  for (const auto& [pfn, page] : pages) {
    runs.add({GuestRange::sized({pfn * 4096}, 4096), InFile{0, 4096, {content.size()}}});
    content.insert(content.end(), page.begin(), page.end());
    content.resize(align_up(content.size(), 4096));
  }
  image.sources = {std::make_shared<MemorySource>("guest", std::move(content))};
  image.runs = runs.finish();
  return image;
}

TEST_CASE("xen search: 32-bit guests are refused by name, unless their tables are translated") {
  ByteWriter start_info;
  start_info.text("xen-3.0-x86_32p").fill(17).le32(1024).le32(0xbfbb7000).le32(8).le32(0x1234);
  start_info.le32(1).le32(0x1235).le32(2).le32(0xc2000000).le32(8).le32(0xc1000000);
  const auto with_tables = [&](std::uint64_t frame) {
    ByteWriter first, second;
    for (std::uint64_t i = 0; i < 512; ++i) {
      first.le64((frame + i) << 12 | 0x63);
      second.le64((frame + 512 + i) << 12 | 0x63);
    }
    return image_with(
        {{0x300, start_info.bytes()}, {0x310, first.bytes()}, {0x311, second.bytes()}});
  };
  CHECK(Result(with_tables(0)).error == "");
  CHECK(
      Result(with_tables(0x51200)).error ==
      "input: looks like memory of a 32-bit Xen PV guest whose page tables hold machine frames, "
      "which only its dump-core translates; --xen-layout asis leaves its page tables as they are");
}

/// Zeros; knows how far it was read.
class WatchedSource final : public ByteSource {
 public:
  const std::string& name() const override { return name_; }
  std::uint64_t size() const override { return std::uint64_t{1} << 32; }
  void read_at(FileOffset at, std::span<std::byte> out) const override {
    std::fill(out.begin(), out.end(), std::byte{0});
    read_ += out.size();
    end_ = std::max(end_.load(), at.value + out.size());
  }
  std::uint64_t bytes_read() const { return read_; }
  std::uint64_t end_of_read() const { return end_; }

 private:
  std::string name_ = "zeros";
  mutable std::atomic<std::uint64_t> read_ = 0, end_ = 0;
};

TEST_CASE("xen search: of a guest that is none of Xen the first 128 MiB are read, once") {
  GuestImage image;
  const auto source = std::make_shared<WatchedSource>();
  image.sources = {source};
  RunListBuilder runs(4096);
  runs.add({GuestRange::sized({0}, source->size()), InFile{0, 4096, {0}}});
  image.runs = runs.finish();
  const Result result(image);
  CHECK(result.error == "");
  CHECK_FALSE(result.image.xen);
  CHECK(source->bytes_read() == 128 << 20);
  CHECK(source->end_of_read() == 128 << 20);
}

TEST_CASE("xen search: damage is refused, or leaves an image that can be read") {
  std::mt19937 random(7);
  for (unsigned round = 0; round < 200; ++round) {
    XenGuest guest(
        {.p2m = static_cast<P2mKind>(round % 5), .pages = 4 * 512 + 512 * (round % 3) + 1024});
    const auto pfns = guest.pfns();
    for (unsigned i = 0; i < 1 + round % 40; ++i) {
      auto& page = guest.page(pfns[random() % pfns.size()]);
      page[random() % 512] ^= std::uint64_t{1} << random() % 64;
    }
    if (round % 7 == 0) guest.remove_page(pfns[random() % pfns.size()]);
    const Result result(guest.image());
    if (!result.error.empty()) continue;
    for (const Run& run : result.image.runs)
      guest_bytes(result.image, run.guest.begin().value,
                  static_cast<std::size_t>(run.guest.size()));
  }
}

}  // namespace
}  // namespace vmconvert::test
