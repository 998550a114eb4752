#include "vmconvert/model/xen_banner.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "vmconvert/model/xen_page_shapes.h"

namespace vmconvert {
namespace {

constexpr std::uint64_t kPage = 4096, kPageShift = 12;
// The image's addresses, from 0xffffffff80000000 on.
constexpr std::size_t kImageL4Slot = 511, kImageL3Slot = 510;
constexpr std::uint64_t kPresent = 1, kLarge = 0x80;
// Data of the kernels seen begin within 24 MiB of their image.
constexpr std::size_t kMostPages = (64 << 20) / kPage;
constexpr std::string_view kText = "Linux version ";

class ImageWalk {
 public:
  ImageWalk(const GuestImage& image, const std::function<std::optional<Pfn>(std::uint64_t)>& find)
      : image_(image), find_(find) {}

  bool run(Pfn root) {
    Bytes l4, l3, l2;
    if (!read(root, l4)) return false;
    const auto l3_at = next(l4, kImageL4Slot);
    if (!l3_at || !read(*l3_at, l3)) return false;
    const auto l2_at = next(l3, kImageL3Slot);
    if (!l2_at || !read(*l2_at, l2)) return false;
    for (std::size_t slot = 0; slot < kXenSlots && pages_ < kMostPages; ++slot) {
      const auto to = next(l2, slot);
      if (!to) continue;
      if ((XenWords(l2)[slot] & kLarge) != 0 ? has_text_from(*to) : l1_has_text(*to)) return true;
    }
    return false;
  }

 private:
  using Bytes = std::array<std::byte, kPage>;

  bool read(Pfn pfn, Bytes& out) const {
    return read_guest(image_, {pfn.value << kPageShift}, out);
  }
  std::optional<Pfn> next(const Bytes& table, std::size_t slot) const {
    const std::uint64_t entry = XenWords(table)[slot];
    return (entry & kPresent) != 0 ? find_(xen_entry_frame(entry)) : std::nullopt;
  }

  bool has_text(Pfn pfn) {
    Bytes page;
    if (++pages_ > kMostPages || !read(pfn, page)) return false;
    const std::string_view text(reinterpret_cast<const char*>(page.data()), page.size());
    return text.find(kText) != text.npos;
  }
  bool has_text_from(Pfn first) {
    for (std::uint64_t i = 0; i < kXenSlots; ++i) {
      if (has_text({first.value + i})) return true;
    }
    return false;
  }
  bool l1_has_text(Pfn l1_at) {
    Bytes l1;
    if (!read(l1_at, l1)) return false;
    for (std::size_t slot = 0; slot < kXenSlots; ++slot) {
      const auto to = next(l1, slot);
      if (to && has_text(*to)) return true;
    }
    return false;
  }

  const GuestImage& image_;
  const std::function<std::optional<Pfn>(std::uint64_t)>& find_;
  std::size_t pages_ = 0;
};

}  // namespace

bool maps_linux(const GuestImage& image, Pfn root,
                const std::function<std::optional<Pfn>(std::uint64_t)>& find) {
  return ImageWalk(image, find).run(root);
}

}  // namespace vmconvert
