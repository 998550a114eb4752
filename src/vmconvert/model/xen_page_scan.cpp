#include "vmconvert/model/xen_page_scan.h"

#include <algorithm>

namespace vmconvert {
namespace {

constexpr std::uint64_t kPage = 4096, kPageShift = 12;
constexpr std::uint64_t kWindow = 256 * 1024;
// A PV kernel begins at 16 MiB (older ones at 1 or 2) and is built for that place: its L4, in its
// data, lies within the first 128 MiB.
constexpr GuestPhysAddr kKernelEnd{128 << 20};
constexpr std::size_t kMostPlain = 64;
constexpr std::size_t kMostSeeds = 1 << 16, kMostLists = 1 << 16;
constexpr std::uint64_t kMostFrameLists = 1 << 22;  // those of 2 TiB, four times

std::uint64_t pages_of(const GuestImage& image) { return image.runs.total_bytes() / kPage; }

/// The next piece of `run` at or behind `at`, at most a window, that can hold anything but zeros:
/// filled into `window`, which is empty behind the last.
GuestPhysAddr read_window(const GuestImage& image, const Run& run, GuestPhysAddr at,
                          std::vector<std::byte>& window) {
  const auto& file = std::get<InFile>(run.backing);
  const ByteSource& source = *image.sources.at(file.source);
  std::uint64_t size = std::min(kWindow, run.guest.end() - at);
  FileOffset place{file.at.value + (at - run.guest.begin()) / kPage * file.stride +
                   (at - run.guest.begin()) % kPage};
  if (file.stride == kPage) {
    const FileRange data = source.next_data(place);
    const std::uint64_t hole = data.empty() ? run.guest.end() - at : data.begin() - place;
    const std::uint64_t step = std::min(hole - hole % kPage, run.guest.end() - at);
    at = at + step;
    place = place + step;
    size = std::min(kWindow, run.guest.end() - at);
  } else {
    size = std::min(kPage, size);
  }
  size -= size % kPage;
  window.resize(static_cast<std::size_t>(size));
  if (size != 0) source.read_at(place, window);
  return at;
}

void push(std::vector<std::uint32_t>& to, std::uint32_t pfn, std::uint64_t most, bool& too_many) {
  if (to.size() < most) {
    to.push_back(pfn);
  } else {
    too_many = true;
  }
}

void add_start_info(const XenStartInfo& info, std::uint32_t pfn, std::vector<XenSeed>& seeds) {
  std::uint32_t next = pfn;
  for (const std::uint64_t frame : {info.store_frame, info.console_frame}) {
    ++next;
    if (frame != 0 && frame < kXenFramesEnd && seeds.size() < kMostSeeds)
      seeds.push_back({next, static_cast<std::uint32_t>(frame), false});
  }
}

}  // namespace

void for_each_guest_page(
    const GuestImage& image, GuestPhysAddr end,
    const std::function<bool(std::uint32_t, std::span<const std::byte>)>& visit) {
  const GuestPhysAddr last{std::min(end.value, kXenFramesEnd << kPageShift)};
  std::vector<std::byte> window;
  for (const Run& run : image.runs) {
    if (run.guest.begin() >= last) break;
    if (std::holds_alternative<Filled>(run.backing)) continue;
    GuestPhysAddr at{align_up(run.guest.begin().value, kPage)};
    while (at < run.guest.end() && at < last) {
      at = read_window(image, run, at, window);
      if (window.empty()) break;
      for (std::size_t i = 0; i < window.size() && at < last; i += kPage, at = at + kPage)
        if (!visit(static_cast<std::uint32_t>(at.value >> kPageShift),
                   std::span<const std::byte>(window).subspan(i, kPage)))
          return;
    }
  }
}

XenFirstLook look_for_xen(const GuestImage& image) {
  XenFirstLook found;
  for_each_guest_page(image, kKernelEnd, [&](std::uint32_t pfn, std::span<const std::byte> page) {
    const XenWords words(page);
    if (is_self_mapped_l4(words)) {
      found.self_mapped.push_back(pfn);
      found.own_frames += xen_entry_frame(words[258]) == pfn ? 1U : 0U;
    } else if (is_plain_l4(words)) {
      if (found.plain.size() < kMostPlain) found.plain.push_back(pfn);
    } else if (const auto info = read_xen_start_info(page)) {
      found.narrow_start_info = found.narrow_start_info || info->width == 4;
    }
    return true;
  });
  return found;
}

XenCandidates find_xen_candidates(const GuestImage& image) {
  // A p2m is a 512th of memory; copies of it may lie around, and pages that look like it. Page
  // tables rarely take more than a 100th.
  const std::uint64_t most_frame_lists = std::min(pages_of(image) / 64 + 4096, kMostFrameLists),
                      most_tables = pages_of(image) / 8 + 4096;
  XenCandidates found;
  for_each_guest_page(
      image, {~std::uint64_t{0}}, [&](std::uint32_t pfn, std::span<const std::byte> page) {
        const XenWords words(page);
        if (is_self_mapped_l4(words)) {
          if (found.seeds.size() < kMostSeeds) {
            const std::uint64_t mfn = xen_entry_frame(words[258]);
            found.seeds.push_back({pfn, static_cast<std::uint32_t>(mfn), true});
          }
        } else if (xen_table_entries(words) != 0) {
          push(found.tables, pfn, most_tables, found.too_many);
        } else if (const XenFrameList list = xen_frame_list(words); list != XenFrameList::no) {
          if (list == XenFrameList::distinct) {
            push(found.frame_lists, pfn, most_frame_lists, found.too_many);
          } else if (found.repeated_lists.size() < kMostLists) {
            found.repeated_lists.push_back(pfn);
          }
        } else if (is_xen_pointer_list(words)) {
          if (found.pointer_lists.size() < kMostLists) found.pointer_lists.push_back(pfn);
        } else if (const auto info = read_xen_start_info(page); info && info->width == 8) {
          add_start_info(*info, pfn, found.seeds);
        }
        return !found.too_many;
      });
  return found;
}

}  // namespace vmconvert
