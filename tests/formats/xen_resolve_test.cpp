#include "vmconvert/model/xen_resolve.h"

#include <algorithm>
#include <map>

#include "support/image_bytes.h"
#include "support/pc_stream.h"
#include "support/reading.h"
#include "support/test.h"
#include "support/xen_builder.h"
#include "support/xen_tables.h"

namespace vmconvert::test {
namespace {

TEST_CASE("xen resolve: page tables of every address space hold pfns, all else is as it was") {
  const XenTablesGuest guest = wide_xen_guest();
  const ReadResult result = read_bytes(guest.core(guest.mfn(203), guest.mfn(208)).bytes());
  REQUIRE(result.error == "");
  const GuestImage& image = *result.image;
  for (std::size_t i = 0; i < kXenPages; ++i) {
    CAPTURE(i);
    CHECK(guest_bytes(image, i * 4096, 4096) == guest.expected(i));
  }
  CHECK(image.xen->tables == XenTables::pseudo_physical);
  CHECK(image.xen->vcpus.at(0).root == 203);
  CHECK(image.xen->vcpus.at(0).user_root == 208);
  CHECK(std::get<X86Registers>(image.vcpus.at(0)).cr3 == 203 << 12);
  CHECK(result.has_decision(
      "9 page tables of 3 address spaces translated from machine frames, 231 entries"));
  CHECK(result.has_decision(
      "1 page-table entries lead out of the guest and are cleared: 0xcf[7]=0xfffff067"));
  std::map<std::string, std::string> facts;
  for (const Fact& fact : image.metadata.facts) facts[fact.key] = fact.value;
  CHECK(facts["xen.page-tables"] == "guest frames");
  CHECK(facts["xen.p2m"] == "in the core");
  CHECK(facts["xen.tables-translated"] == "9");
  CHECK(facts["xen.entries-translated"] == "230");
  CHECK(facts["xen.entries-cleared"] == "1");
  std::uint64_t frames = 0;
  for_each_machine_frame(image, image.xen->p2m.value(), [&](Pfn pfn, Mfn mfn) {
    CHECK(mfn.value == guest.mfn(static_cast<std::size_t>(pfn.value)));
    ++frames;
  });
  CHECK(frames == kXenPages);
}

TEST_CASE("xen resolve: reads that begin and end anywhere") {
  const XenTablesGuest guest = wide_xen_guest();
  const GuestImage image = *read_bytes(guest.core(guest.mfn(203)).bytes()).image;
  for (std::size_t i = 198; i < 210; ++i) {
    if (i == 208) continue;  // in use by no vCPU here, so it is data
    const Bytes page = guest_bytes(image, i * 4096, 4096);
    CHECK(page == guest.expected(i));
  }
  const ByteSource& source = *image.sources.at(1);
  Bytes all(static_cast<std::size_t>(source.size()));
  source.read_at({0}, all);
  std::uint64_t at = 1;
  for (std::size_t size = 1; size < 12'000; size += 1 + size / 3) {
    for (int i = 0; i < 40; ++i, at = (at * 7919 + 13) % (all.size() - size)) {
      Bytes part(size);
      source.read_at({at}, part);
      REQUIRE(std::equal(part.begin(), part.end(), all.begin() + static_cast<std::ptrdiff_t>(at)));
    }
  }
}

TEST_CASE("xen resolve: the copy engine and the runs agree on translated pages") {
  const XenTablesGuest guest = wide_xen_guest();
  const GuestImage image = *read_bytes(guest.core(guest.mfn(203)).bytes()).image;
  PlanBuilder builder;
  for (const GuestRange extent : image.runs.extents()) builder.guest(extent);
  const OutputPlan plan = std::move(builder).finish();
  CHECK(executed(plan, image) == naive_output(plan, image));
}

TEST_CASE("xen resolve: a 32-bit guest") {
  XenTablesGuest guest(4);
  // 200: root in use; 201: L2 of the kernel's gigabyte, 202: its leaf; 203: another root with
  // tables of its own, 204 for the kernel and 205 of the process; 206: the process's leaf.
  for (std::size_t pfn = 200; pfn <= 206; ++pfn) guest.table(pfn);
  for (std::size_t slot = 0; slot < 3; ++slot) {
    guest.entry(200, slot, 205, 1);
    guest.entry(203, slot, 205, 1);
  }
  guest.entry(200, 3, 201, 1);
  guest.entry(203, 3, 204, 1);
  for (const std::size_t root : {200U, 203U}) guest.odd(root, 4, 0x12345067, 0);
  for (const std::size_t l2 : {201U, 204U}) {
    guest.entry(l2, 0, 202);
    guest.odd(l2, 428, 0x12345067, 0);
    guest.odd(l2, 511, 0x12346067, 0);
  }
  guest.map_all(202);
  guest.entry(205, 430, 206);
  guest.entry(206, 0, 7);
  const ReadResult result = read_bytes(guest.core(guest.mfn(200)).bytes());
  REQUIRE(result.error == "");
  for (std::size_t i = 0; i < kXenPages; ++i) {
    CAPTURE(i);
    CHECK(guest_bytes(*result.image, i * 4096, 4096) == guest.expected(i));
  }
  CHECK(std::get<X86Registers>(result.image->vcpus.at(0)).cr3 == 200 << 12);
  CHECK(result.has_decision("7 page tables of 2 address spaces"));
}

TEST_CASE("xen resolve: a core of Xen 3.0") {
  const XenMappedGuest guest = xen_mapped_guest(40, 8);
  XenOldCore core{.pages = guest.pages,
                  .contexts = {XenContext{.cr3 = guest.root_mfn << 12}.wide()}};
  const ReadResult result = read_bytes(core.bytes());
  REQUIRE(result.error == "");
  const Bytes leaf = guest_bytes(*result.image, 39 * 4096, 4096);
  for (std::size_t i = 0; i < 40; ++i) {
    CHECK(Bytes(leaf.begin() + static_cast<std::ptrdiff_t>(8 * i),
                leaf.begin() + static_cast<std::ptrdiff_t>(8 * i + 8)) ==
          ByteWriter().le64(i << 12 | 0x8010000000000067).bytes());
  }
}

TEST_CASE("xen resolve: what cannot be translated is refused, and can be left as it is") {
  const XenTablesGuest guest = wide_xen_guest();
  const std::string way_out = "; --xen-layout asis leaves them as they are";
  CHECK(read_bytes(guest.core(0x12345).bytes()).error ==
        "input: no page table of this PV guest can be found" + way_out);
  XenTablesGuest torn = wide_xen_guest();
  for (std::size_t slot = 20; slot < 50; ++slot) torn.odd(207, slot, 0xfffff067, 0);
  CHECK(read_bytes(torn.core(torn.mfn(203)).bytes()).error ==
        "input: 31 of 260 page-table entries lead out of the guest: its page tables do not fit its "
        "p2m" +
            way_out);
  const ReadResult result =
      read_bytes(torn.core(torn.mfn(203)).bytes(), {.xen_layout = XenLayout::asis});
  REQUIRE(result.error == "");
  CHECK(result.image->xen->tables == XenTables::machine);
  CHECK(
      result.has_warning("the page tables of this PV guest are left as they are: they hold machine "
                         "frames, which nothing in the output translates"));
  XenCore without = guest.core(guest.mfn(203));
  without.pv = false;
  without.magic = 0xf00febed;
  CHECK(read_bytes(without.bytes()).error ==
        "input: holds no p2m to translate the page tables of this PV guest with" + way_out);
}

TEST_CASE("xen resolve: large pages, cycles, conflicts and frames that come twice") {
  XenTablesGuest guest = wide_xen_guest();
  guest.odd(206, 9, guest.mfn(3) << 12 | kFlags | 0x80, 0);  // a large page, which there is not
  guest.entry(207, 9, 207);                                  // itself: a leaf maps it, no more
  guest.entry(205, 9, 207);                                  // an L1 as L2
  for (std::size_t i = 100; i < 199; ++i) guest.entry(207, i, i);
  XenCore core = guest.core(guest.mfn(203));
  core.pages.push_back({500, page_of(500), guest.mfn(3)});
  const ReadResult result = read_bytes(core.bytes());
  REQUIRE(result.error == "");
  CHECK(result.has_warning("1 page in use as page tables of two levels; the first found counts"));
  CHECK(result.has_warning("1 machine frame with two pages each; the lower pfn counts"));
  CHECK(guest_bytes(*result.image, 206 * 4096, 4096) == guest.expected(206));
  CHECK(guest_bytes(*result.image, 207 * 4096, 4096) == guest.expected(207));
}

TEST_CASE("xen m2p: looking up") {
  XenM2p m2p;
  m2p.add({5}, {0x30});
  m2p.add({1}, {0x10});
  m2p.add({2}, {0x11});
  m2p.add({9}, {0x10});
  m2p.add({std::uint64_t{1} << 32}, {0x50});
  m2p.add({7}, {std::uint64_t{1} << 32});
  m2p.finish();
  CHECK(m2p.size() == 3);
  CHECK(m2p.duplicates() == 1);
  XenM2p::Lookup lookup(m2p);
  CHECK(lookup.find({0x11}) == Pfn{2});
  CHECK(lookup.find({0x30}) == Pfn{5});
  CHECK(lookup.find({0x10}) == Pfn{1});
  CHECK(lookup.find({0x11}) == Pfn{2});
  CHECK_FALSE(lookup.find({0x12}));
  CHECK_FALSE(lookup.find({0x31}));
  CHECK_FALSE(lookup.find({0x50}));
  CHECK_FALSE(lookup.find({std::uint64_t{1} << 32}));
  const XenM2p none;
  CHECK_FALSE(XenM2p::Lookup(none).find({0}));
}

TEST_CASE("xen m2p: looking up many, dense and sparse") {
  for (const std::uint64_t step : {1U, 3U, 1000U}) {
    XenM2p m2p;
    constexpr std::uint64_t kMany = 5000;
    const auto mfn_of = [&](std::uint64_t i) {
      return 77 + (i < kMany / 2 ? i * 7 % 2503 : 1'000'000 + i * step);
    };
    for (std::uint64_t i = 0; i < kMany; ++i) m2p.add({i}, {mfn_of(i)});
    m2p.finish();
    REQUIRE(m2p.size() == kMany);
    XenM2p::Lookup lookup(m2p);
    for (std::uint64_t i = 0; i < kMany; ++i) {
      REQUIRE(lookup.find({mfn_of(i)}) == Pfn{i});
      if (step > 1 && i > kMany / 2) REQUIRE_FALSE(lookup.find({mfn_of(i) + 1}));
    }
    CHECK_FALSE(lookup.find({0}));
    CHECK_FALSE(lookup.find({500'000}));
    CHECK_FALSE(lookup.find({mfn_of(kMany - 1) + 1}));
  }
}

}  // namespace
}  // namespace vmconvert::test
