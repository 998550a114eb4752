#include <functional>

#include "support/image_bytes.h"
#include "support/pc_stream.h"
#include "support/reading.h"
#include "support/test.h"
#include "support/xen_builder.h"

namespace vmconvert::test {
namespace {

using Pairs = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

Pairs frames_of(const GuestImage& image) {
  Pairs pairs;
  for_each_machine_frame(image, image.xen->p2m.value(),
                         [&](Pfn pfn, Mfn mfn) { pairs.emplace_back(pfn.value, mfn.value); });
  return pairs;
}

// Most cores here have no page tables.
const ReadOptions kAsIs{.xen_layout = XenLayout::asis};

XenCore pv_core() {
  XenCore core;
  core.pages = {{0, page_of(0), 0xa0}, {1, page_of(1), 0xb7}, {5, page_of(5), 0x91}};
  core.contexts = {XenContext{.user_root = 0x99000, .cr3 = 0xa7514000}.wide()};
  return core;
}

const X86Registers& x86(const GuestImage& image, std::size_t i) {
  return std::get<X86Registers>(image.vcpus.at(i));
}

TEST_CASE("xen core: a PV guest's pages, frames and registers") {
  const ReadResult result = read_bytes(pv_core().bytes(), kAsIs);
  REQUIRE(result.error == "");
  const GuestImage& image = *result.image;
  CHECK(image.arch == Arch::x86_64);
  CHECK(image.runs.extents() == std::vector{guest_range(0, 0x2000), guest_range(0x5000, 0x6000)});
  for (const std::uint64_t pfn : {0U, 1U, 5U}) CHECK(is_page(image, pfn * 4096, pfn));
  CHECK(frames_of(image) == Pairs{{0, 0xa0}, {1, 0xb7}, {5, 0x91}});
  const XenFacts& xen = *image.xen;
  CHECK(xen.type == XenGuestType::pv);
  CHECK(xen.width == 8);
  CHECK(xen.tables == XenTables::machine);
  REQUIRE(xen.shared_info);
  Bytes shared(4096);
  image.sources[xen.shared_info->source]->read_at(xen.shared_info->range.begin(), shared);
  CHECK(shared == page_of(777));
  REQUIRE(xen.vcpus.size() == 1);
  CHECK(xen.vcpus[0].root == 0xa7514);
  CHECK(xen.vcpus[0].user_root == 0x99);
  CHECK(xen.vcpus[0].in_kernel);
  CHECK(xen.vcpus[0].online);
  const X86Registers& r = x86(image, 0);
  CHECK(r.rip == 0xffffffff81000123);
  CHECK(r.rsp == 0xffffc90000001000);
  CHECK(r.rflags == 0x246);
  CHECK(r.rax == 1);
  CHECK(r.rbx == 0xb);
  CHECK(r.rcx == 0xc);
  CHECK(r.rdx == 0xd);
  CHECK(r.rsi == 0x51);
  CHECK(r.rdi == 0xd1);
  CHECK(r.rbp == 0xbb);
  CHECK(r.r8_to_r15 == std::array<std::uint64_t, 8>{8, 9, 10, 11, 12, 13, 14, 15});
  // In ring 3 by its selectors, in the kernel by its flags: shown as the guest's kernel sees it.
  CHECK(r.cs.selector == 0xe030);
  CHECK(r.ss.selector == 0xe028);
  CHECK(r.ds.selector == 0xd5);
  CHECK(r.es.selector == 0xe5);
  CHECK(r.fs.selector == 0xf5);
  CHECK(r.gs.selector == 0x65);
  CHECK(r.fs.base == 0xf5);
  CHECK(r.gs.base == 0x61);
  CHECK(r.kernel_gs_base == 0x62);
  CHECK(r.cr0 == 0x80050033);
  CHECK(r.cr2 == 0x1234);
  CHECK(r.cr3 == 0xa7514000);
  CHECK(r.cr4 == 0x50660);
  CHECK(r.long_mode);
}

TEST_CASE("xen core: what the notes say of the hypervisor") {
  const ReadResult result = read_bytes(pv_core().bytes(), kAsIs);
  REQUIRE(result.error == "");
  const auto has = [&](std::string_view key, std::string_view value) {
    for (const Fact& fact : result.image->metadata.facts) {
      if (fact.key == key && fact.value == value) return true;
    }
    return false;
  };
  CHECK(has("dump.format", "Xen dump-core"));
  CHECK(has("xen.version", "4.17.7"));
  CHECK(has("xen.compiler", "gcc 12"));
  CHECK(has("xen.compile-date", "Wed Nov  4 16:52:28 UTC 2026"));
  CHECK(has("xen.capabilities", "xen-3.0-x86_64 hvm-3.0-x86_32"));
  CHECK(has("xen.changeset", "abcdef"));
  CHECK(has("xen.page-tables", "machine frames"));
  CHECK(result.image->metadata.machine == "Xen, PV guest with 64-bit words");
}

TEST_CASE("xen core: a vCPU in user mode, and one that is offline") {
  XenCore core = pv_core();
  core.contexts = {XenContext{.rip = 0x401000, .cs = 0x33, .ss = 0x2b, .flags = 0x21}.wide(),
                   XenContext{.flags = 0x15}.wide()};
  const ReadResult result = read_bytes(core.bytes(), kAsIs);
  REQUIRE(result.error == "");
  const GuestImage& image = *result.image;
  CHECK(x86(image, 0).cs.selector == 0x33);
  CHECK(x86(image, 0).ss.selector == 0x2b);
  CHECK(x86(image, 0).gs.base == 0x62);
  CHECK(x86(image, 0).kernel_gs_base == 0x61);
  CHECK_FALSE(image.xen->vcpus[0].in_kernel);
  CHECK_FALSE(image.xen->vcpus[1].online);
  CHECK(result.has_decision("vCPU 1 is offline: its registers are those of then"));
  CHECK(image.metadata.facts.back().key == "xen.page-tables");
  CHECK(image.metadata.facts.at(image.metadata.facts.size() - 2).value == "1");
}

TEST_CASE("xen core: a 32-bit guest's registers and folded CR3") {
  XenCore core = pv_core();
  core.machine = 3;
  core.contexts = {
      XenContext{.rip = 0xc1000123, .rsp = 0xc2000000, .cs = 0x61, .ss = 0x69, .cr3 = 0x45678123}
          .narrow()};
  const ReadResult result = read_bytes(core.bytes(), kAsIs);
  REQUIRE(result.error == "");
  const GuestImage& image = *result.image;
  CHECK(image.arch == Arch::i386);
  CHECK(image.xen->width == 4);
  const X86Registers& r = x86(image, 0);
  CHECK_FALSE(r.long_mode);
  CHECK(r.rip == 0xc1000123);
  CHECK(r.rsp == 0xc2000000);
  CHECK(r.rax == 1);
  CHECK(r.rbx == 0xb);
  CHECK(r.rcx == 0xc);
  CHECK(r.rdx == 0xd);
  CHECK(r.rsi == 0x51);
  CHECK(r.rdi == 0xd1);
  CHECK(r.rbp == 0xbb);
  CHECK(r.cs.selector == 0x60);
  CHECK(r.ss.selector == 0x68);
  CHECK(r.gs.selector == 0x65);
  CHECK(r.cr4 == 0x50660);
  CHECK(image.xen->vcpus[0].root == 0x12345678);
  CHECK(r.cr3 == 0x12345678000);
}

TEST_CASE("xen core: HVM and PVH guests") {
  XenCore core{.pv = false};
  core.pages = {{0, page_of(0)}, {0x100000, page_of(1)}, {~std::uint64_t{0}, Bytes(4096)}};
  core.contexts = {XenContext{.cs = 0x10, .ss = 0x18, .cr3 = 0x2a10006}.wide()};
  ReadResult result = read_bytes(core.bytes(), kAsIs);
  REQUIRE(result.error == "");
  CHECK(result.image->runs.extents() ==
        std::vector{guest_range(0, 0x1000), guest_range(0x100000000, 0x100001000)});
  CHECK(result.has_decision("unused slots for 1 page"));
  CHECK(result.has_decision("guest of x86_64, by where code and stacks of its vCPUs lie"));
  CHECK_FALSE(result.image->xen->p2m);
  CHECK(result.image->xen->tables == XenTables::pseudo_physical);
  CHECK(x86(*result.image, 0).cs.selector == 0x10);
  CHECK(x86(*result.image, 0).cr3 == 0x2a10006);
  CHECK(x86(*result.image, 0).gs.base == 0x61);
  CHECK(result.image->metadata.machine == "Xen, HVM or PVH guest");

  core.contexts = {XenContext{.rip = 0x80401234, .rsp = 0x80550000, .cs = 0x8, .ss = 0x10}.wide()};
  result = read_bytes(core.bytes(), kAsIs);
  REQUIRE(result.error == "");
  CHECK(result.image->arch == Arch::i386);
  CHECK_FALSE(x86(*result.image, 0).long_mode);
  result = read_bytes(core.bytes(), {.machine = machine_by_name("x86_64")});
  CHECK(result.image->arch == Arch::x86_64);
  CHECK(read_bytes(core.bytes(), {.machine = machine_by_name("s390x")}).error ==
        "input: is of a guest of i386, not of s390x as --arch says");
  CHECK(read_bytes(pv_core().bytes(), {.machine = machine_by_name("i386")}).error ==
        "input: is of a guest of x86_64, not of i386 as --arch says");
}

TEST_CASE("xen core: Arm guests") {
  XenCore core{.pv = false, .machine = 40};
  core.pages = {{0x80000, page_of(1)}};
  core.stride = 352;
  core.contexts = {xen_arm_context(0xffff800010000000, 0x3c5), xen_arm_context(0x400000, 0, 0)};
  ReadResult result = read_bytes(core.bytes(), kAsIs);
  REQUIRE(result.error == "");
  const GuestImage& image = *result.image;
  CHECK(image.arch == Arch::aarch64);
  CHECK(image.xen->type == XenGuestType::arm);
  CHECK(image.runs.extents() == std::vector{guest_range(0x80000000, 0x80001000)});
  const auto& r = std::get<Aarch64Registers>(image.vcpus[0]);
  CHECK(r.x[0] == 100);
  CHECK(r.x[30] == 130);
  CHECK(r.pc == 0xffff800010000000);
  CHECK(r.pstate == 0x3c5);
  CHECK(r.sp == 0xe11);
  CHECK(r.el1->sctlr == 0x5c);
  CHECK(r.el1->tcr == 0x7c);
  CHECK(r.el1->ttbr0 == 0x77b0);
  CHECK(r.el1->ttbr1 == 0x77b1);
  CHECK(std::get<Aarch64Registers>(image.vcpus[1]).sp == 0xe10);
  CHECK(result.has_decision("vCPU 1 is offline"));
  CHECK(result.has_warning("dump-cores of Arm guests hold at most the first 128 MiB of memory"));
  core.contexts = {xen_arm_context(0x1000, 0x1d3)};
  CHECK(read_bytes(core.bytes(), kAsIs).error ==
        "input: is of a guest of 32-bit ARM, which is not supported");
}

TEST_CASE("xen core: an index in any order, with pages twice and too high") {
  XenCore core = pv_core();
  core.pages = {{7, page_of(7), 0x70},  {3, page_of(3), 0x30},
                {4, page_of(4), 0x40},  {~std::uint64_t{0}, Bytes(4096), ~std::uint64_t{0}},
                {3, page_of(33), 0x33}, {0, page_of(0), ~std::uint64_t{0}},
                {8, page_of(8), 0x80}};
  ReadResult result = read_bytes(core.bytes(), kAsIs);
  REQUIRE(result.error == "");
  for (const std::uint64_t pfn : {0U, 3U, 4U, 7U, 8U}) {
    CAPTURE(pfn);
    CHECK(is_page(*result.image, pfn * 4096, pfn));
  }
  CHECK(result.image->runs.total_bytes() == 5 * 4096);
  CHECK(frames_of(*result.image) == Pairs{{3, 0x30}, {4, 0x40}, {7, 0x70}, {8, 0x80}});
  CHECK(result.has_warning("1 page of the core came before; of each the first is kept"));

  core.pages[1].pfn = std::uint64_t{1} << 40;
  const std::string error = read_bytes(core.bytes(), kAsIs).error;
  CHECK(error.ends_with(": pfn 0x10000000000 is higher than a guest can have"));
  result = read_bytes(core.bytes(), {.salvage = true, .xen_layout = XenLayout::asis});
  REQUIRE(result.error == "");
  CHECK(result.has_loss("left out: 1 page with a pfn higher than a guest can have"));
  CHECK(is_page(*result.image, 3 * 4096, 33));
}

TEST_CASE("xen core: every other page of the file in the guest's order") {
  XenCore core = pv_core();
  core.pages.clear();
  for (std::uint64_t i = 0; i < 6; ++i) {
    core.pages.push_back({i, page_of(i), 0x10 + i});
    core.pages.push_back({100 + 2 * i, page_of(100 + 2 * i), 0x20 + i});
  }
  const ReadResult result = read_bytes(core.bytes(), kAsIs);
  REQUIRE(result.error == "");
  Pairs expected;
  for (std::uint64_t i = 0; i < 6; ++i) expected.emplace_back(i, 0x10 + i);
  for (std::uint64_t i = 0; i < 6; ++i) expected.emplace_back(100 + 2 * i, 0x20 + i);
  CHECK(frames_of(*result.image) == expected);
  CHECK(are_pages(*result.image, 0, 0, 6));
}

TEST_CASE("xen core: what is missing") {
  XenCore core = pv_core();
  core.contexts.clear();
  core.shared_info = false;
  ReadResult result = read_bytes(core.bytes(), kAsIs);
  REQUIRE(result.error == "");
  CHECK(result.has_warning("no registers: the core holds none"));
  CHECK_FALSE(result.image->xen->shared_info);
  core = pv_core();
  core.stride = 2800;
  core.contexts = {Bytes(2800)};
  result = read_bytes(core.bytes(), kAsIs);
  REQUIRE(result.error == "");
  CHECK(result.has_warning("no registers: those of a vCPU have 2800 bytes instead of 5168"));
  core = pv_core();
  core.nr_pages = 2;
  result = read_bytes(core.bytes(), kAsIs);
  REQUIRE(result.error == "");
  CHECK(result.has_warning(
      "the core does not agree on how many pages it has: 2 by its header, 3 by their size, 3 by "
      "their index; the least is taken"));
  CHECK(result.image->runs.total_bytes() == 2 * 4096);
}

TEST_CASE("xen core: cores that cannot be are refused") {
  const auto error = [](const std::function<void(XenCore&)>& change) {
    XenCore core = pv_core();
    change(core);
    return read_bytes(core.bytes(), kAsIs).error;
  };
  CHECK(error([](auto& c) {
          c.magic = 5;
        }).ends_with("xch_magic 0x5 is of no kind of guest that is known"));
  CHECK(error([](auto& c) {
          c.nr_vcpus = 9000;
        }).ends_with("xch_nr_vcpus is 9000, more than a guest has"));
  CHECK(error([](auto& c) {
          c.page_size = 16384;
        }).ends_with("xch_page_size is 16384; only 4096 is supported"));
  CHECK(error([](auto& c) {
          c.format_version = 0x100000000;
        }).ends_with("format version 0x100000000 is not known"));
  CHECK(error([](auto& c) { c.entsize = 0; }) ==
        "input: has entries of 0 bytes in .xen_p2m instead of 16");
  CHECK(error([](auto& c) { c.more_sections = {".xen_pages"}; }) ==
        "input: has two sections .xen_pages");
  CHECK(error([](auto& c) { c.more_sections = {".xen_pfn"}; }) ==
        "input: has both .xen_p2m and .xen_pfn");
  CHECK(error([](auto& c) { c.without = ".xen_p2m"; }) ==
        "input: has neither .xen_p2m nor .xen_pfn");
  CHECK(error([](auto& c) { c.without = ".xen_pages"; }) == "input: has no section .xen_pages");
  CHECK(error([](auto& c) { c.magic = 0xf00febee; }) ==
        "input: has a .xen_p2m, which is for PV guests");
  CHECK(error([](auto& c) { c.machine = 50; }) ==
        "input: is of a guest that is not supported (e_machine 50)");
}

TEST_CASE("xen core: section tables that cannot be are refused") {
  const Bytes whole = pv_core().bytes();
  const auto error = [&](std::size_t at, std::string_view patch) {
    Bytes bytes = whole;
    overwrite(bytes, at, from_hex(patch));
    return read_bytes(bytes, kAsIs).error;
  };
  CHECK(error(58, "20 00") == "input: offset 0x3a: e_shentsize is 32 instead of 64");
  CHECK(error(60, "01 10").ends_with("e_shnum is 4097, more than a dump-core has"));
  CHECK(error(62, "09 00").ends_with("e_shstrndx is of no section"));
  CHECK(error(62, "00 00").ends_with("e_shstrndx is of no section"));
  CHECK(error(40, "00 00 00 00 01") ==
        "input: offset 0x0: e_shoff lies outside the data it is part of");
  CHECK(error(64 + 5 * 64 + 32, "00 00 00 40 00 00 00 00") ==
        "input: offset 0x3000: section \".xen_pages\" of 1073741824 bytes reaches past the end of "
        "the file");
  CHECK(
      error(64 + 64 + 32, "ff ff ff ff ff ff ff ff").ends_with("reaches past the end of the file"));
  Bytes unended = whole;
  unended.back() = std::byte{'x'};
  CHECK(read_bytes(unended, kAsIs).error.ends_with("section name has no end"));
}

TEST_CASE("xen core: more sections than e_shnum has room for are counted in section 0") {
  Bytes bytes = pv_core().bytes();
  overwrite(bytes, 60, from_hex("00 00 ff ff"));
  overwrite(bytes, 64 + 32, from_hex("07"));
  overwrite(bytes, 64 + 40, from_hex("01"));
  CHECK(read_bytes(bytes, kAsIs).error == "");
}

TEST_CASE("old xen core: a PV guest is put in order by its page tables") {
  for (const unsigned width : {8U, 4U}) {
    CAPTURE(width);
    const XenMappedGuest guest = xen_mapped_guest(40, width);
    XenOldCore core{.index_width = width, .pages = guest.pages};
    std::swap(core.pages[3], core.pages[30]);
    const std::uint64_t folded = guest.root_mfn << 12;
    core.contexts = {width == 8 ? XenContext{.cr3 = folded}.wide()
                                : XenContext{.cr3 = folded}.narrow()};
    ReadResult result = read_bytes(core.bytes(), kAsIs);
    REQUIRE(result.error == "");
    for (const XenCorePage& page : guest.pages)
      CHECK(guest_bytes(*result.image, page.pfn * 4096, 4096) == page.content);
    CHECK(result.image->arch == (width == 8 ? Arch::x86_64 : Arch::i386));
    Pairs expected;
    for (const XenCorePage& page : guest.pages) expected.emplace_back(page.pfn, page.mfn);
    CHECK(frames_of(*result.image) == expected);

    core.pages.push_back({0, page_of(99), 0x9999});
    CHECK(read_bytes(core.bytes(), kAsIs).error ==
          "input: page tables tell of 40 of 41 pages which page of the guest each is");
    result = read_bytes(core.bytes(), {.salvage = true, .xen_layout = XenLayout::asis});
    REQUIRE(result.error == "");
    CHECK(
        result.has_loss("page tables tell of 40 of 41 pages which page of the guest each is; "
                        "the others are left out"));
    CHECK(result.image->runs.total_bytes() == 40 * 4096);
    core.pages.push_back(core.pages.back());
    CHECK(read_bytes(core.bytes(), kAsIs).error == "input: holds machine frame 0x9999 twice");
  }
}

TEST_CASE("old xen core: an HVM guest's index has its own frames") {
  XenOldCore core{.pv = false};
  core.pages = {{0, page_of(0)}, {0x100000, page_of(1)}};
  core.contexts = {XenContext{}.wide()};
  for (const unsigned width : {8U, 4U}) {
    core.index_width = width;
    const ReadResult result = read_bytes(core.bytes(), kAsIs);
    REQUIRE(result.error == "");
    CHECK(is_page(*result.image, 0x100000000, 1));
  }
}

TEST_CASE("old xen core: cores that cannot be are refused") {
  const XenMappedGuest guest = xen_mapped_guest(8, 8);
  const XenOldCore core{.pages = guest.pages,
                        .contexts = {XenContext{.cr3 = guest.root_mfn << 12}.wide()}};
  const Bytes whole = core.bytes();
  REQUIRE(read_bytes(whole, kAsIs).error == "");
  const auto error = [&](std::size_t at, std::string_view patch) {
    Bytes bytes = whole;
    overwrite(bytes, at, from_hex(patch));
    return read_bytes(bytes, kAsIs).error;
  };
  CHECK(error(4, "01 20") == "input: offset 0x4: nr_vcpus is 8193, more than a guest has");
  CHECK(error(16, "10 00") == "input: offset 0x10: index_offset lies in the header");
  CHECK(error(20, "01") == "input: offset 0x14: pages_offset 0x2001 is not where pages can lie");
  CHECK(error(8, "09") ==
        "input: offset 0x2000: memory is cut off: 36864 bytes wanted, 32768 left");
  CHECK(error(20, "00 30").find("memory is cut off") != std::string::npos);
  CHECK(error(4, "00 00") ==
        "input: holds no vCPU, whose page tables would tell which page is which");
  CHECK(error(4, "02 00") ==
        "input: registers of a layout that is not known: those of a vCPU have 2584 bytes");
  CHECK(error(24 + 5008, "00 00 00 00") ==
        "input: page tables tell of 0 of 8 pages which page of the guest each is");
}

}  // namespace
}  // namespace vmconvert::test
