#include <algorithm>
#include <functional>

#include "support/failing_io.h"
#include "support/image_bytes.h"
#include "support/pc_stream.h"
#include "support/reading.h"
#include "support/test.h"
#include "support/xen_builder.h"

namespace vmconvert::test {
namespace {

/// A small file of one kind, and where it may end early without an error.
struct Sample {
  std::string name;
  Bytes bytes;
  std::function<bool(std::size_t)> complete = [](std::size_t) { return false; };
};

constexpr std::uint64_t kGone = std::uint64_t{0xf} << 60;

Bytes hvm_context() {
  return ByteWriter()
      .append(hvm_record(2, 0, HvmCpuState{}.bytes()))
      .append(hvm_record(5, 0, Bytes(24)))
      .append(hvm_record(0, 0, {}))
      .bytes();
}

std::vector<Sample> samples() {
  const XenMappedGuest mapped = xen_mapped_guest(6, 8);
  XenCore core{.pages = mapped.pages};
  std::swap(core.pages[0], core.pages[1]);
  core.contexts = {XenContext{.cr3 = mapped.root_mfn << 12}.wide()};
  XenCore hvm{.pv = false, .pages = {{0, page_of(0)}}, .contexts = {XenContext{.cs = 0x10}.wide()}};
  const XenOldCore old{.pages = mapped.pages,
                       .contexts = {XenContext{.cr3 = mapped.root_mfn << 12}.wide()}};
  XenStream pv;
  pv.libxl().libxc(1).pv_info().record(3, ByteWriter().le32(0).le32(5).le64(2).bytes());
  pv.pages({{0, page_of(0)}, {1, page_of(9)}, {3 | kGone}}).pages({{1, page_of(1)}, {4 | kGone}});
  pv.record(7, page_of(777)).vcpu(0, XenContext{}.wide()).record(5, Bytes(13));
  XenStream paravirtual_hardware;
  paravirtual_hardware.libxc(2).pages({{0, page_of(0)}, {7, page_of(7)}}).record(9, hvm_context());
  XenStream checkpoints;
  checkpoints.libxc(2).pages({{0, page_of(0)}}).record(9, hvm_context()).record(0x0e);
  const std::size_t checkpoint = checkpoints.size();
  checkpoints.pages({{0, page_of(5)}});
  XenLegacyStream legacy(8, 600);
  legacy.blocks({{"vcpu", XenContext{}.wide()}}).frame_list(2);
  legacy.batch({{0, page_of(0)}, {0xf0000007}}).vcpu_info(0, 1).chunk(-9).chunk(0).unmapped({9});
  legacy.raw(XenContext{}.wide()).raw(page_of(777));
  return {{"core", core.bytes()},
          {"hvm core", hvm.bytes()},
          {"old core", old.bytes()},
          {"pv stream", xl_file(R"({"c_info": {"name": "x"}})", pv.end().bytes())},
          {"hvm stream", paravirtual_hardware.end(false).bytes()},
          {"checkpoints", checkpoints.end(false).bytes(),
           [=](std::size_t size) { return size >= checkpoint; }},
          {"legacy", legacy.bytes()}};
}

/// True for bytes like those around them, and of page contents, which no reader looks at; but for
/// some.
std::vector<bool> dull_bytes(const Bytes& bytes) {
  constexpr std::size_t kNear = 8, kStep = 251;
  std::vector<bool> dull(bytes.size());
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    const std::size_t begin = at < kNear ? 0 : at - kNear, end = std::min(at + kNear, bytes.size());
    const auto part = std::span(bytes).subspan(begin, end - begin);
    dull[at] = std::all_of(part.begin(), part.end(), [&](std::byte b) { return b == part[0]; });
  }
  for (const std::uint64_t number : {0U, 1U, 2U, 3U, 4U, 5U, 7U, 9U, 777U}) {
    const Bytes content = page_of(number);
    const auto found = std::search(bytes.begin(), bytes.end(), content.begin(), content.end());
    if (found == bytes.end()) continue;
    const auto begin = static_cast<std::size_t>(found - bytes.begin());
    for (std::size_t at = begin + kNear; at < begin + content.size() - kNear; ++at) dull[at] = true;
  }
  for (std::size_t at = 0; at < bytes.size(); at += kStep) dull[at] = false;
  return dull;
}

/// Reads all of a small image.
void read_all(const GuestImage& image) {
  for (const GuestRange extent : image.runs.extents()) {
    if (extent.size() <= 1 << 20)
      guest_bytes(image, extent.begin().value, static_cast<std::size_t>(extent.size()));
  }
  if (image.xen->p2m) {
    for_each_machine_frame(image, *image.xen->p2m, [](Pfn, Mfn) {});
  }
}

TEST_CASE("xen damage: a file cut anywhere is an error, and salvage gives true bytes") {
  for (const Sample& sample : samples()) {
    CAPTURE(sample.name);
    const ReadResult whole = read_bytes(sample.bytes);
    REQUIRE(whole.error == "");
    const std::vector<bool> dull = dull_bytes(sample.bytes);
    for (std::size_t size = 0; size < sample.bytes.size(); ++size) {
      if (dull[size]) continue;
      CAPTURE(size);
      const Bytes cut(sample.bytes.begin(),
                      sample.bytes.begin() + static_cast<std::ptrdiff_t>(size));
      const bool complete = sample.complete(size);
      ReadResult result = read_bytes(cut);
      REQUIRE((result.error == "") == complete);
      result = read_bytes(cut, {.salvage = true});
      if (!result.image || complete) continue;
      REQUIRE(result.diagnostics->lost());
      for (const GuestRange extent : result.image->runs.extents()) {
        for (std::uint64_t gpa = extent.begin().value; gpa < extent.end().value; gpa += 4096) {
          const Bytes page = guest_bytes(*result.image, gpa, 4096);
          // What a later record of the whole stream replaces.
          const bool earlier = page == page_of(gpa == 0 ? 0 : 9);
          REQUIRE((earlier || page == guest_bytes(*whole.image, gpa, 4096)));
        }
      }
    }
  }
}

TEST_CASE("xen damage: a flipped byte is an error or an image that keeps its promises") {
  for (const Sample& sample : samples()) {
    CAPTURE(sample.name);
    const std::vector<bool> dull = dull_bytes(sample.bytes);
    for (std::size_t at = 0; at < sample.bytes.size(); ++at) {
      if (dull[at]) continue;
      for (const unsigned pattern : {0x01U, 0xffU}) {
        CAPTURE(at);
        Bytes bytes = sample.bytes;
        bytes[at] ^= static_cast<std::byte>(pattern);
        for (const bool salvage : {false, true}) {
          const ReadResult result = read_bytes(bytes, {.salvage = salvage});
          REQUIRE((result.image.has_value() != !result.error.empty()));
          if (!result.image || !result.image->xen) continue;
          if (!salvage) REQUIRE(!result.diagnostics->lost());
          read_all(*result.image);
        }
      }
    }
  }
}

TEST_CASE("xen damage: each failing read ends with its error") {
  for (const Sample& sample : samples()) {
    CAPTURE(sample.name);
    const auto memory = std::make_shared<MemorySource>("input", sample.bytes);
    for (std::uint64_t n = 1;; ++n) {
      CAPTURE(n);
      const auto source = std::make_shared<ThrowingSource>(memory, n);
      const ReadResult result = read_source(source, {.salvage = n % 2 == 0});
      if (!source->failed()) {
        CHECK(n > 5);
        break;
      }
      REQUIRE(result.kind == ErrorKind::io);
      REQUIRE(result.error.ends_with("read: Input/output error"));
    }
  }
}

}  // namespace
}  // namespace vmconvert::test
