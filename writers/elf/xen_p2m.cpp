#include "elf/xen_p2m.h"

#include <algorithm>
#include <utility>

namespace vmconvert::elf {
namespace {

constexpr std::uint64_t kPage = 4096, kPageShift = 12, kWords = 512;
constexpr std::uint64_t kNone = ~std::uint64_t{0};  // INVALID_P2M_ENTRY of Linux
// Where kernels and tools count in large pages, nothing shares one with the guest's memory.
constexpr std::uint64_t kLargePageFrames = 512;

}  // namespace

XenP2mTree::XenP2mTree(std::vector<FrameStretch> stretches, std::uint64_t first)
    : stretches_(std::move(stretches)), first_(first) {
  for (const FrameStretch& stretch : stretches_) {
    const std::uint64_t last = (stretch.pfn + stretch.count - 1) / kWords;
    std::uint64_t block = stretch.pfn / kWords;
    if (!blocks_.empty()) block = std::max<std::uint64_t>(block, blocks_.back() + 1);
    for (; block <= last; ++block) blocks_.push_back(static_cast<std::uint32_t>(block));
    blocks_end_ = std::max(blocks_end_, last + 1);
  }
}

// Pages: root, lists, the leaf of all blocks in which there is nothing, the other leaves.
std::uint64_t XenP2mTree::lists() const { return (blocks_end_ + kWords - 1) / kWords; }
std::uint64_t XenP2mTree::size() const { return (1 + lists() + 1 + blocks_.size()) * kPage; }

std::uint64_t XenP2mTree::leaf_of(std::uint64_t block) const {
  const std::uint64_t empty = first_ + 1 + lists();
  const auto found = std::lower_bound(blocks_.begin(), blocks_.end(), block);
  if (found == blocks_.end() || *found != block) return empty;
  return empty + 1 + static_cast<std::uint64_t>(found - blocks_.begin());
}

void XenP2mTree::make_leaf(std::uint64_t block, Page& page) const {
  page.fill(kNone);
  const std::uint64_t begin = block * kWords, end = begin + kWords;
  auto stretch =
      std::partition_point(stretches_.begin(), stretches_.end(),
                           [&](const FrameStretch& one) { return one.pfn + one.count <= begin; });
  for (; stretch != stretches_.end() && stretch->pfn < end; ++stretch) {
    const std::uint64_t last = std::min(end, stretch->pfn + stretch->count);
    for (std::uint64_t pfn = std::max(begin, stretch->pfn); pfn < last; ++pfn)
      page[static_cast<std::size_t>(pfn - begin)] = stretch->frame + (pfn - stretch->pfn);
  }
}

void XenP2mTree::make_page(std::uint64_t number, Page& page) const {
  page.fill(std::uint64_t{0});
  if (number == 0) {
    for (std::uint64_t i = 0; i < lists(); ++i) page[static_cast<std::size_t>(i)] = first_ + 1 + i;
  } else if (number <= lists()) {
    const std::uint64_t first = (number - 1) * kWords;
    for (std::uint64_t i = 0; i < kWords && first + i < blocks_end_; ++i)
      page[static_cast<std::size_t>(i)] = leaf_of(first + i);
  } else if (number == lists() + 1) {
    page.fill(kNone);
  } else {
    make_leaf(blocks_.at(static_cast<std::size_t>(number - lists() - 2)), page);
  }
}

void XenP2mTree::read_at(FileOffset at, std::span<std::byte> out) const {
  if (FileRange::sized(at, out.size()).end().value > size())
    throw Error(ErrorKind::io, name_, at.value, "read past the end");
  Page page;
  while (!out.empty()) {
    make_page(at.value / kPage, page);
    const auto bytes = std::as_bytes(std::span(page)).subspan(at.value % kPage);
    const std::size_t part = std::min(bytes.size(), out.size());
    std::copy_n(bytes.begin(), part, out.begin());
    out = out.subspan(part);
    at = at + part;
  }
}

namespace {

/// Where the guest's own frames are physical addresses: all of them up to the end of the p2m, which
/// begins at `first`. makedumpfile asks for holes as well, which cost no more than a fraction of
/// the guest's memory, unless a file was made so.
std::vector<FrameStretch> own_frames(const GuestImage& image, std::uint64_t first,
                                     std::uint64_t own_pages) {
  constexpr std::uint64_t kMostHoles = 16;  // times the guest's memory
  if (first / kMostHoles <= image.runs.total_bytes() >> kPageShift)
    return {{0, 0, first + own_pages}};
  std::vector<FrameStretch> stretches;
  for (const GuestRange extent : image.runs.extents()) {
    std::uint64_t pfn = extent.begin().value >> kPageShift;
    if (!stretches.empty()) pfn = std::max(pfn, stretches.back().pfn + stretches.back().count);
    const std::uint64_t extent_end = ((extent.end().value - 1) >> kPageShift) + 1;
    if (pfn < extent_end) stretches.push_back({pfn, pfn, extent_end - pfn});
  }
  stretches.push_back({first, first, own_pages});
  return stretches;
}

std::uint64_t place_behind(std::uint64_t end) {
  return align_up(end, kLargePageFrames) + kLargePageFrames;
}

XenView view(std::shared_ptr<const XenP2mTree> p2m, std::uint64_t first) {
  const auto place = GuestRange::sized({first << kPageShift}, p2m->size());
  return {.p2m = std::move(p2m), .place = place};
}

}  // namespace

std::optional<XenView> xen_view_of(const GuestImage& image) {
  if (!image.xen || image.xen->type != XenGuestType::pv || image.xen->width != 8 ||
      image.runs.empty()) {
    return std::nullopt;
  }
  if (const auto& layout = image.xen->machine_layout; !layout.empty()) {
    std::uint64_t end = 0;
    for (const FrameStretch& s : layout) end = std::max(end, s.frame + s.count);
    if (layout.back().pfn + layout.back().count > XenP2mTree::kPfnsEnd) return std::nullopt;
    return view(std::make_shared<XenP2mTree>(layout, place_behind(end)), place_behind(end));
  }
  if (image.xen->tables == XenTables::machine) return std::nullopt;
  const std::uint64_t end = ((image.runs.runs().back().guest.end().value - 1) >> kPageShift) + 1;
  const std::uint64_t first = place_behind(end);
  // The tree has words of its own pages as well: a few rounds, since each page holds 512.
  for (std::uint64_t own = 1; first + own <= XenP2mTree::kPfnsEnd;) {
    auto p2m = std::make_shared<XenP2mTree>(own_frames(image, first, own), first);
    const std::uint64_t needed = p2m->size() >> kPageShift;
    if (needed == own) return view(std::move(p2m), first);
    own = needed;
  }
  return std::nullopt;
}

}  // namespace vmconvert::elf
