#include "vmconvert/kernel/kernel_image.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>

#include "vmconvert/base/packed.h"
#include "vmconvert/kernel/btf.h"
#include "vmconvert/kernel/vmcoreinfo_note.h"

namespace vmconvert {
namespace {

using namespace std::string_view_literals;

constexpr std::uint64_t kPage = 4096;
constexpr std::size_t kChunk = 256 * 1024;
constexpr std::size_t kLongestBanner = 1024;
// A kernel has some thousand pointers to whole pages.
constexpr std::uint64_t kLargestGpa = std::uint64_t{1} << 52;
constexpr std::size_t kMostFollowed = 1 << 20;
constexpr std::string_view kBannerStart = "Linux version ";
constexpr std::string_view kIdleName = "swapper/0\0"sv;
constexpr std::size_t kMostPlaces = 64;
// The first four bytes: magic, version, no flags.
constexpr std::string_view kBtfLittleEndian = "\x9f\xeb\x01\0"sv,
                           kBtfBigEndian = "\xeb\x9f\x01\0"sv;
constexpr std::string_view kNoteName = "VMCOREINFO\0\0"sv;

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// The banner at the beginning of `text`, if it is one: printable up to an end of line.
std::string parse_banner(std::string_view text) {
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos || end > kLongestBanner) return "";
  const std::string_view banner = text.substr(0, end);
  const std::string_view release = banner.substr(kBannerStart.size());
  const bool is_release = !release.empty() && release[0] >= '0' && release[0] <= '9';
  const bool printable_text =
      std::all_of(banner.begin(), banner.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
  return is_release && printable_text ? std::string(banner) : "";
}

bool has_build_number(std::string_view banner) {
  const std::size_t at = banner.find(" #");
  return at != std::string_view::npos && at + 2 < banner.size() && banner[at + 2] >= '0' &&
         banner[at + 2] <= '9';
}

class Search {
 public:
  Search(const GuestImage& image, std::optional<std::uint64_t> page_offset)
      : image_(image), page_offset_(page_offset) {}

  void in_mapping(const Mapping& mapping) {
    // Chunks overlap, so that what crosses a border is seen whole in one of them.
    const std::uint64_t size = mapping.guest_virtual.size();
    for (std::uint64_t at = 0; at < size; at += kChunk) {
      buffer_.resize(static_cast<std::size_t>(std::min<std::uint64_t>(kChunk + kPage, size - at)));
      const auto from = GuestRange::try_sized(mapping.guest_physical, at + buffer_.size());
      if (!from || !read_guest(image_, mapping.guest_physical + at, buffer_)) continue;
      in_chunk(mapping.guest_physical + at, mapping.guest_virtual.begin() + at);
    }
  }

  KernelImageContent take() { return std::move(content_); }

 private:
  void in_chunk(GuestPhysAddr at, GuestVirtAddr gva) {
    const std::string_view text = text_of(buffer_);
    for (std::size_t i = text.find(kBannerStart); i < kChunk; i = text.find(kBannerStart, i + 1))
      add_banner(parse_banner(text.substr(i, kLongestBanner + 1)), gva + i);
    for (std::size_t i = text.find(kNoteName); i != std::string_view::npos;
         i = text.find(kNoteName, i + 1)) {
      if (i >= 12 && i < kChunk + 12) add_note(at + (i - 12), "in the kernel's image");
    }
    for (std::size_t i = text.find(kIdleName); i != std::string_view::npos && i < kChunk;
         i = text.find(kIdleName, i + 1)) {
      if (content_.idle_names.size() < kMostPlaces) content_.idle_names.push_back(gva + i);
    }
    // The section is on no border.
    const std::string_view btf =
        image_.byte_order == std::endian::little ? kBtfLittleEndian : kBtfBigEndian;
    for (std::size_t i = text.find(btf); i < kChunk && i + 64 <= buffer_.size();
         i = text.find(btf, i + 1)) {
      if (btf_size(std::span(buffer_).subspan(i, 64), image_.byte_order) &&
          content_.btf.size() < kMostPlaces)
        content_.btf.push_back(gva + i);
    }
    if (page_offset_) follow_pointers();
  }

  void add_banner(std::string banner, GuestVirtAddr at) {
    if (banner.empty()) return;
    const bool better = has_build_number(banner) && !has_build_number(content_.banner);
    if (content_.banner.empty() || better) {
      content_.banner = std::move(banner);
      content_.banner_places = {at};
    } else if (banner == content_.banner && content_.banner_places.size() < kMostPlaces) {
      content_.banner_places.push_back(at);
    }
  }

  void follow_pointers() {
    const std::size_t size = image_.arch == Arch::i386 ? 4 : 8;
    const std::size_t end = std::min(buffer_.size(), kChunk) / size * size;
    for (std::size_t i = 0; i < end; i += size) {
      const auto raw = std::span(buffer_).subspan(i, size);
      const std::uint64_t value = size == 4 ? load<std::uint32_t>(raw, image_.byte_order)
                                            : load<std::uint64_t>(raw, image_.byte_order);
      const std::uint64_t gpa = value - *page_offset_;
      if (value % kPage != 0 || gpa >= kLargestGpa) continue;
      if (followed_.size() == kMostFollowed || !followed_.insert(gpa).second) continue;
      add_note({gpa}, "which the kernel's image points to");
    }
  }

  void add_note(GuestPhysAddr at, std::string_view how) {
    auto note = read_vmcoreinfo(image_, at, how);
    if (!note) return;
    for (const Vmcoreinfo& known : content_.notes) {
      if (known.text == note->text) return;
    }
    content_.notes.push_back(std::move(*note));
  }

  const GuestImage& image_;
  std::optional<std::uint64_t> page_offset_;
  std::vector<std::byte> buffer_;
  std::unordered_set<std::uint64_t> followed_;
  KernelImageContent content_;
};

}  // namespace

KernelImageContent search_kernel_image(const GuestImage& image,
                                       const std::vector<Mapping>& mappings,
                                       std::optional<std::uint64_t> page_offset) {
  Search search(image, page_offset);
  for (const Mapping& mapping : mappings) search.in_mapping(mapping);
  return search.take();
}

std::string release_of(std::string_view banner) {
  if (!banner.starts_with(kBannerStart)) return "";
  banner.remove_prefix(kBannerStart.size());
  return std::string(banner.substr(0, banner.find(' ')));
}

}  // namespace vmconvert
