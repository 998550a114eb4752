#include "vmconvert/model/xen_facts.h"

#include <algorithm>

#include "vmconvert/base/packed.h"
#include "vmconvert/model/guest_image.h"

namespace vmconvert {
namespace {

constexpr std::uint64_t kPage = 4096;
// Entries are read so many bytes at a time.
constexpr std::uint64_t kBatchBytes = 256 * 1024;

}  // namespace

void for_each_machine_frame(const GuestImage& image, const XenP2mTable& table,
                            const std::function<void(Pfn, Mfn)>& visit) {
  const ByteSource& source = *image.sources.at(table.source);
  const std::uint64_t none = table.width == 4 ? 0xffffffff : ~std::uint64_t{0};
  const std::uint64_t batch = kBatchBytes / table.stride;
  std::vector<std::byte> bytes;
  for (const Run& run : image.runs) {
    const auto* file = std::get_if<InFile>(&run.backing);
    if (file == nullptr || file->source != table.source || file->at < table.pages) continue;
    const std::uint64_t first = (file->at - table.pages) / kPage;
    const std::uint64_t step = file->stride / kPage;  // 1, or 2 if every other page lies elsewhere
    const std::uint64_t pages = run.guest.size() / kPage;
    for (std::uint64_t done = 0; done < pages;) {
      const std::uint64_t n = std::min(batch, pages - done);
      const std::uint64_t index = first + done * step;
      if (index >= table.count || (n - 1) * step >= table.count - index) break;
      bytes.resize(static_cast<std::size_t>(((n - 1) * step) * table.stride + table.width));
      source.read_at(table.entries + index * table.stride, bytes);
      for (std::uint64_t i = 0; i < n; ++i) {
        const auto entry =
            std::span(bytes).subspan(static_cast<std::size_t>(i * step * table.stride));
        const std::uint64_t mfn = table.width == 4
                                      ? load<std::uint32_t>(entry, std::endian::little)
                                      : load<std::uint64_t>(entry, std::endian::little);
        if (mfn != none) visit({run.guest.begin().value / kPage + done + i}, {mfn});
      }
      done += n;
    }
  }
}

}  // namespace vmconvert
