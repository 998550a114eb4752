#include <openssl/sha.h>

#include <nlohmann/json.hpp>

#include "support/reading.h"
#include "support/test.h"
#include "support/xen_tables.h"
#include "vmconvert/convert/xen_remap_log.h"
#include "vmconvert/model/xen_resolve.h"

namespace vmconvert::test {
namespace {

std::string hash_of(const Bytes& page) {
  unsigned char digest[32];
  SHA256(reinterpret_cast<const unsigned char*>(page.data()), page.size(), digest);
  std::string text;
  for (const unsigned char byte : digest) {
    constexpr const char* kDigits = "0123456789abcdef";
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

TEST_CASE("xen layout: by machine frames, page tables and CR3 are as the core has them") {
  const XenTablesGuest guest = wide_xen_guest();
  const XenCore core = guest.core(guest.mfn(203), guest.mfn(208));
  GuestImage image = read_bytes(core.bytes(), {.xen_layout = XenLayout::machine}).image.value();
  CHECK(image.xen->tables == XenTables::pseudo_physical);  // until the kernel is found
  CollectingDiagnostics diagnostics;
  use_machine_layout("input", image, diagnostics);
  CHECK(image.xen->tables == XenTables::machine);
  CHECK(image.xen->vcpus.at(0).root == guest.mfn(203));
  CHECK(std::get<X86Registers>(image.vcpus.at(0)).cr3 == guest.mfn(203) << 12);
  for (std::size_t i = 0; i < kXenPages; ++i)
    CHECK(guest_bytes(image, i * 4096, 4096) == core.pages.at(i).content);
  std::uint64_t pfn = 0;
  for (const FrameStretch& stretch : image.xen->machine_layout) {
    CHECK(stretch.pfn == pfn);
    for (std::uint64_t i = 0; i < stretch.count; ++i, ++pfn)
      CHECK(stretch.frame + i == guest.mfn(static_cast<std::size_t>(pfn)));
  }
  CHECK(pfn == kXenPages);
  CHECK_FALSE(diagnostics.has(Diagnostics::Level::warning, "left out"));
}

TEST_CASE("xen layout: of two pages with one machine frame the second is left out, and told") {
  const XenTablesGuest guest = wide_xen_guest();
  XenCore core = guest.core(guest.mfn(203));
  core.pages.push_back({500, page_of(500), guest.mfn(3)});
  GuestImage image = read_bytes(core.bytes()).image.value();
  CollectingDiagnostics diagnostics;
  use_machine_layout("input", image, diagnostics);
  CHECK(image.xen->machine_layout.back().pfn < 500);
  CHECK(diagnostics.has(Diagnostics::Level::warning,
                        "left out, without a machine frame or with that of another page: 1 page"));
}

TEST_CASE("xen layout: what has no machine frames cannot be laid out by them") {
  CollectingDiagnostics diagnostics;
  GuestImage other;
  CHECK_THROWS_WITH_AS(use_machine_layout("input", other, diagnostics),
                       "input: holds no page tables with machine frames, which --xen-layout "
                       "machine is for",
                       Error);
  CHECK_THROWS_WITH_AS(xen_remap_log("input", other),
                       "input: no page tables were translated, which --remap-log would list",
                       Error);
}

TEST_CASE("xen layout: the log lists each page that differs, with hashes of both") {
  const XenTablesGuest guest = wide_xen_guest();
  const XenCore core = guest.core(guest.mfn(203));
  const GuestImage image = read_bytes(core.bytes()).image.value();
  const auto log = nlohmann::json::parse(xen_remap_log("in\n\"put", image));
  CHECK(log["schema"] == "vmconvert-xen-remap");
  CHECK(log["version"] == 1);
  CHECK(log["input"] == R"("in\x0a\"put")");  // as messages quote it
  std::size_t listed = 0;
  for (const auto& page : log["pages"]) {
    const auto pfn = page["pfn"].get<std::size_t>();
    CAPTURE(pfn);
    CHECK(page["sha256_before"] == hash_of(core.pages.at(pfn).content));
    CHECK(page["sha256_after"] == hash_of(guest.expected(pfn)));
    ++listed;
  }
  CHECK(listed == 8);  // root 208 is not in use here
  const auto& root = log["pages"][3];
  CHECK(root["pfn"] == 203);
  CHECK(root["kind"] == "L4");
  CHECK(root["entries_rewritten"] == 1);
  CHECK(root["entries_cleared"] == 0);
  CHECK(root["entries_of_xen"] == 3);
  CHECK(log["pages"][7]["kind"] == "L1");
  CHECK(log["pages"][7]["entries_rewritten"] == 2);
  CHECK(log["pages"][7]["entries_cleared"] == 1);
}

TEST_CASE("xen resolve: a root that names another frame as its own does not fit the p2m") {
  XenTablesGuest guest = wide_xen_guest();
  guest.odd(203, 258, guest.mfn(5) << 12 | 0x8000000000000063, 0);
  CHECK(read_bytes(guest.core(guest.mfn(203)).bytes()).error ==
        "input: a page-table root of this PV guest names another frame as its own: its page "
        "tables do not fit its p2m; --xen-layout asis leaves them as they are");
}

TEST_CASE("xen resolve: without registers, roots that map themselves read-only are found") {
  XenTablesGuest guest = wide_xen_guest();
  // One that was freed: it still has its frame in slot 258, but is mapped for writing.
  guest.odd(209, 258, guest.mfn(209) << 12 | 0x63, guest.mfn(209) << 12 | 0x63);
  guest.odd(209, 272, guest.mfn(200) << 12 | 0x67, guest.mfn(200) << 12 | 0x67);
  XenCore core = guest.core(guest.mfn(203));
  core.contexts.clear();
  const ReadResult result = read_bytes(core.bytes());
  REQUIRE(result.error == "");
  CHECK(result.has_warning("no registers: the core holds none"));
  CHECK(result.has_decision("8 page tables of 2 address spaces"));
  for (std::size_t i = 0; i < kXenPages; ++i) {
    if (i == 208) continue;  // nothing tells that this is a root
    CHECK(guest_bytes(*result.image, i * 4096, 4096) == guest.expected(i));
  }
}

TEST_CASE("xen resolve: the CR3 of a vCPU that is offline may be of a page that is no root now") {
  const XenTablesGuest guest = wide_xen_guest();
  XenCore core = guest.core(guest.mfn(203));
  overwrite(core.pages.at(5).content, 258 * 8, ByteWriter().le64(0x1234567).bytes());
  for (const std::size_t root : {5U, 204U})
    core.contexts.push_back(XenContext{.flags = 0x15, .cr3 = guest.mfn(root) << 12}.wide());
  const ReadResult result = read_bytes(core.bytes());
  REQUIRE(result.error == "");
  CHECK(result.has_decision("8 page tables of 2 address spaces"));
  CHECK(guest_bytes(*result.image, 5 * 4096, 4096) == core.pages.at(5).content);
}

TEST_CASE("xen resolve: a CR3 that is no page of the guest is told") {
  const XenTablesGuest guest = wide_xen_guest();
  XenCore core = guest.core(guest.mfn(203));
  core.contexts.push_back(XenContext{.cr3 = 0x12345000}.wide());
  const ReadResult result = read_bytes(core.bytes());
  REQUIRE(result.error == "");
  CHECK(result.has_warning(
      "CR3 of vCPU 1, machine frame 0x12345, is no page of the guest, and becomes 0"));
  CHECK(std::get<X86Registers>(result.image->vcpus.at(1)).cr3 == 0);
}

}  // namespace
}  // namespace vmconvert::test
