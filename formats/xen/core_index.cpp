#include "xen/core_index.h"

#include <string>
#include <vector>

#include "vmconvert/base/text.h"
#include "vmconvert/io/cursor.h"
#include "xen/xen_format.h"

namespace vmconvert::xen {
namespace {

constexpr std::uint64_t kUnused = ~std::uint64_t{0};  // of 32-bit guests as well

/// Pages that follow each other in the guest and in the file.
struct Stretch {
  std::uint64_t pfn = 0, index = 0, count = 0;
};

Run run_of(const Stretch& stretch, const CoreIndex& index) {
  return {GuestRange::sized({stretch.pfn << kPageShift}, stretch.count << kPageShift),
          InFile{0, kPage, index.pages + (stretch.index << kPageShift)}};
}

}  // namespace

PlacedPages place_pages(const ByteSource& source, const CoreIndex& index, bool salvage) {
  PlacedPages result;
  std::vector<Stretch> stretches;
  bool ascending = true;
  std::uint64_t used = 0;
  Cursor cursor(source, FileRange::sized(index.entries, index.count * index.stride),
                std::endian::little);
  for (std::uint64_t i = 0; i < index.count; ++i) {
    const auto pfn = cursor.read<std::uint64_t>("pfn");
    if (pfn != kUnused && pfn >= kFramesEnd) {
      if (!salvage) cursor.fail("pfn", hex(pfn) + " is higher than a guest can have");
      ++result.too_high;
    } else if (pfn == kUnused) {
      ++result.unused;
    } else {
      ++used;
      Stretch* last = stretches.empty() ? nullptr : &stretches.back();
      if (last != nullptr && pfn == last->pfn + last->count && i == last->index + last->count) {
        ++last->count;
      } else if (last == nullptr || pfn < last->pfn || pfn >= last->pfn + last->count) {
        if (last != nullptr && pfn < last->pfn + last->count) ascending = false;
        stretches.push_back({pfn, i, 1});
      }  // else it came just before, and the first counts
    }
    cursor.take(index.stride - sizeof(pfn), "index entry");
  }
  // The builder keeps what it gets last, and of a page that comes twice the first is wanted.
  RunListBuilder builder(kPage);
  if (ascending) {
    for (const Stretch& stretch : stretches) builder.add(run_of(stretch, index));
  } else {
    for (auto stretch = stretches.rbegin(); stretch != stretches.rend(); ++stretch)
      builder.add(run_of(*stretch, index));
  }
  result.runs = builder.finish();
  result.repeated = used - (result.runs.total_bytes() >> kPageShift);
  return result;
}

}  // namespace vmconvert::xen
