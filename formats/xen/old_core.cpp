#include "xen/old_core.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "vmconvert/base/packed.h"
#include "vmconvert/base/text.h"
#include "vmconvert/io/cursor.h"
#include "xen/direct_map.h"
#include "xen/vcpu_context.h"
#include "xen/xen_format.h"
#include "xen/xen_metadata.h"

namespace vmconvert::xen {
namespace {

// Truth: Xen 3.0.4, tools/libxc/xc_core.c, xenctrl.h (struct xc_core_header). Little-endian.
//   u32 magic, nr_vcpus, nr_pages, ctxt_offset, index_offset, pages_offset
//   24            vcpu_guest_context[nr_vcpus]
//   index_offset  machine frames (gfns of an HVM guest) of the host's word size
//   pages_offset  the pages, at a multiple of the page size
constexpr std::uint32_t kMagicPv = 0xf00febed, kMagicHvm = 0xf00febee;
constexpr std::uint32_t kHeaderSize = 24;
constexpr std::uint64_t kUnused32 = 0xffffffff;

struct Header {
  bool pv = false;
  std::uint32_t nr_vcpus = 0, nr_pages = 0, index_offset = 0, pages_offset = 0;
};

/// A page of the core by its machine frame. 8 bytes a page.
struct FramePage {
  std::uint32_t mfn = 0, page = 0;
};

class OldCore {
 public:
  OldCore(const Input& input, const ReadOptions& options, Diagnostics& diagnostics)
      : input_(input), source_(*input.source()), options_(options), diagnostics_(diagnostics) {}

  GuestImage read() {
    read_header();
    entry_size_ = index_entry_size();
    GuestImage image;
    image.sources.push_back(input_.source());
    image.metadata.facts.push_back({"dump.format", "Xen core of Xen 3.0"});
    image.xen = XenFacts{};
    XenFacts& xen = *image.xen;
    if (header_.pv) {
      xen.type = XenGuestType::pv;
      xen.tables = XenTables::machine;
      xen.p2m = XenP2mTable{.pages = {header_.pages_offset},
                            .entries = {header_.index_offset},
                            .count = header_.nr_pages,
                            .stride = entry_size_,
                            .width = entry_size_};
    }
    read_vcpus(image);
    if (header_.pv) {
      place_by_direct_map(image);
    } else {
      place_by_index(image);
    }
    set_arch(source_.name(), false, options_, image, diagnostics_);
    resolve_tables(source_.name(), options_, image, diagnostics_);
    add_guest_facts(image);
    report_guest(source_.name(), image, diagnostics_);
    return image;
  }

 private:
  void read_header() {
    Cursor cursor(source_, FileRange::sized({0}, source_.size()), std::endian::little);
    const auto magic = cursor.read<std::uint32_t>("magic");
    if (magic != kMagicPv && magic != kMagicHvm) cursor.fail("magic", "is not that of a Xen core");
    header_.pv = magic == kMagicPv;
    header_.nr_vcpus = cursor.read<std::uint32_t>("nr_vcpus");
    if (header_.nr_vcpus > kMostVcpus)
      cursor.fail("nr_vcpus", "is " + std::to_string(header_.nr_vcpus) + ", more than a guest has");
    header_.nr_pages = cursor.read<std::uint32_t>("nr_pages");
    if (cursor.read<std::uint32_t>("ctxt_offset") != kHeaderSize)
      cursor.fail("ctxt_offset", "is not 24");
    header_.index_offset = cursor.read<std::uint32_t>("index_offset");
    if (header_.index_offset < kHeaderSize) cursor.fail("index_offset", "lies in the header");
    header_.pages_offset = cursor.read<std::uint32_t>("pages_offset");
    if (header_.pages_offset % kPage != 0 || header_.pages_offset < header_.index_offset)
      cursor.fail("pages_offset", hex(header_.pages_offset) + " is not where pages can lie");
    cursor.seek({header_.pages_offset}, "pages_offset");
    cursor.take(std::uint64_t{header_.nr_pages} * kPage, "memory");
  }

  /// 8 or 4 bytes: the pages begin at the first page border behind the index. If both fit, numbers
  /// of 8 bytes have zeros in between.
  std::uint32_t index_entry_size() const {
    const auto fits = [&](std::uint64_t size) {
      return align_up(header_.index_offset + header_.nr_pages * size, kPage) ==
             header_.pages_offset;
    };
    if (fits(4) != fits(8)) return fits(8) ? 8 : 4;
    if (!fits(8)) {
      throw Error(ErrorKind::corrupt, source_.name(), 16,
                  "the index of " + counted(header_.nr_pages, "page") +
                      " does not end where the pages begin");
    }
    Cursor cursor(source_, FileRange::between({header_.index_offset}, {header_.pages_offset}),
                  std::endian::little);
    for (std::uint32_t i = 0; i < header_.nr_pages; ++i) {
      if ((cursor.read<std::uint64_t>("index") >> 32) != 0) return 4;
    }
    return 8;
  }

  void read_vcpus(GuestImage& image) {
    if (header_.nr_vcpus == 0) {
      if (header_.pv) fail("holds no vCPU, whose page tables would tell which page is which");
      diagnostics_.warn(source_.name(), "no registers: the core holds none");
      return;
    }
    const std::uint64_t size = (header_.index_offset - kHeaderSize) / header_.nr_vcpus;
    if (size == kContext32 && header_.pv) {
      image.xen->width = 4;
    } else if (size != kContext64) {
      const std::string why = "those of a vCPU have " + std::to_string(size) + " bytes";
      if (header_.pv)
        fail("registers of a layout that is not known: " + why, ErrorKind::unsupported);
      diagnostics_.warn(source_.name(), "no registers: " + why);
      return;
    }
    for (std::uint32_t i = 0; i < header_.nr_vcpus; ++i) {
      add_vcpu(read_x86_context(source_, {kHeaderSize + i * size}, image.xen->type,
                                image.xen->width, XenTables::machine),
               source_.name(), image, diagnostics_);
    }
  }

  /// Calls `visit` with each page's number and what the index says of it; unused ones are left out.
  template <class Visit>
  void for_each_entry(const Visit& visit) const {
    Cursor cursor(
        source_,
        FileRange::sized({header_.index_offset}, std::uint64_t{header_.nr_pages} * entry_size_),
        std::endian::little);
    for (std::uint32_t i = 0; i < header_.nr_pages; ++i) {
      const std::uint64_t frame = entry_size_ == 8 ? cursor.read<std::uint64_t>("index")
                                                   : cursor.read<std::uint32_t>("index");
      if (frame != kUnused32 && frame != ~std::uint64_t{0}) visit(i, frame, cursor);
    }
  }

  Run run_of(std::uint64_t pfn, std::uint32_t page) const {
    return {GuestRange::sized({pfn << kPageShift}, kPage), InFile{0, kPage, page_at(page)}};
  }
  FileOffset page_at(std::uint32_t page) const {
    return {header_.pages_offset + std::uint64_t{page} * kPage};
  }

  void place_by_index(GuestImage& image) const {
    RunListBuilder builder(kPage);
    for_each_entry([&](std::uint32_t page, std::uint64_t frame, const Cursor& cursor) {
      if (frame >= kFramesEnd) cursor.fail("pfn", hex(frame) + " is higher than a guest can have");
      builder.add(run_of(frame, page));
    });
    image.runs = builder.finish();
  }

  void place_by_direct_map(GuestImage& image) {
    index_frames();
    const XenFacts& xen = *image.xen;
    MachineTables tables{
        .width = xen.width, .root = {xen.vcpus.front().root}, .frames = frames_.size()};
    tables.read = [&](Mfn mfn, std::span<std::byte> out) {
      const auto page = page_of(mfn);
      if (page) source_.read_at(page_at(*page), out);
      return page.has_value();
    };
    RunListBuilder builder(kPage);
    std::vector<bool> placed(header_.nr_pages);
    std::uint64_t count = 0;
    walk_direct_map(tables, [&](Pfn pfn, Mfn mfn) {
      const auto page = page_of(mfn);
      if (!page || placed[*page]) return;
      placed[*page] = true;
      ++count;
      builder.add(run_of(pfn.value, *page));
    });
    image.runs = builder.finish();
    if (count == frames_.size()) return;
    const std::string text = "page tables tell of " + std::to_string(count) + " of " +
                             counted(frames_.size(), "page") + " which page of the guest each is";
    if (!options_.salvage || count == 0) fail(text);
    diagnostics_.loss(source_.name(), std::nullopt, text + "; the others are left out");
  }

  void index_frames() {
    for_each_entry([&](std::uint32_t page, std::uint64_t frame, const Cursor& cursor) {
      if (frame > kUnused32) cursor.fail("machine frame", hex(frame) + " is too high");
      frames_.push_back({static_cast<std::uint32_t>(frame), page});
    });
    std::stable_sort(frames_.begin(), frames_.end(),
                     [](const FramePage& a, const FramePage& b) { return a.mfn < b.mfn; });
    const auto twice =
        std::adjacent_find(frames_.begin(), frames_.end(),
                           [](const FramePage& a, const FramePage& b) { return a.mfn == b.mfn; });
    if (twice != frames_.end()) fail("holds machine frame " + hex(twice->mfn) + " twice");
  }

  std::optional<std::uint32_t> page_of(Mfn mfn) const {
    const auto found = std::partition_point(
        frames_.begin(), frames_.end(), [&](const FramePage& one) { return one.mfn < mfn.value; });
    if (found == frames_.end() || found->mfn != mfn.value) return std::nullopt;
    return found->page;
  }

  [[noreturn]] void fail(const std::string& why, ErrorKind kind = ErrorKind::corrupt) const {
    throw Error(kind, source_.name(), std::nullopt, why);
  }

  const Input& input_;
  const ByteSource& source_;
  const ReadOptions& options_;
  Diagnostics& diagnostics_;
  Header header_;
  std::uint32_t entry_size_ = 8;
  std::vector<FramePage> frames_;
};

}  // namespace

bool is_old_core(std::span<const std::byte> head) {
  if (head.size() < kHeaderSize) return false;
  const auto magic = load<std::uint32_t>(head, std::endian::little);
  return (magic == kMagicPv || magic == kMagicHvm) &&
         load<std::uint32_t>(head.subspan(12), std::endian::little) == kHeaderSize;
}

GuestImage read_old_core(const Input& input, const ReadOptions& options, Diagnostics& diagnostics) {
  return OldCore(input, options, diagnostics).read();
}

}  // namespace vmconvert::xen
