#include "kdump/page_source.h"

#include <algorithm>

#include "vmconvert/base/packed.h"
#include "vmconvert/base/text.h"
#include "vmconvert/io/decoder.h"

namespace vmconvert::kdump {
namespace {

// Larger: fewer reads; smaller: stays in the processor's cache between read and decompression.
constexpr std::uint64_t kWindow = 1024 * 1024;

PageCodec codec_of(std::uint32_t flags, const ByteSource& dump, FileOffset at) {
  switch (flags) {
    case 1:
      return PageCodec::zlib;
    case 2:
      return PageCodec::lzo;
    case 4:
      return PageCodec::snappy;
    case 0x20:
      return PageCodec::zstd;
    default:
      throw Error(ErrorKind::unsupported, dump.name(), at.value + 12,
                  "flags of a page are " + hex(flags) + ", a compression that is not known");
  }
}

}  // namespace

// Truth: makedumpfile 1.7.2, diskdump_mod.h, struct page_desc; in the guest's byte order.
//   0 offset u64, 8 size u32, 12 flags u32, 16 page_flags u64
PageDescriptor parse_descriptor(std::span<const std::byte, PageDescriptor::kSize> bytes,
                                const ByteSource& dump, const Header& header, FileOffset at) {
  const auto offset = load<std::uint64_t>(bytes, header.order);
  const auto size = load<std::uint32_t>(bytes.subspan(8), header.order);
  const auto flags = load<std::uint32_t>(bytes.subspan(12), header.order);
  PageDescriptor page{.compressed = flags != 0};
  if (page.compressed) page.codec = codec_of(flags, dump, at);
  const auto data = FileRange::try_sized({offset}, size);
  if (!data || data->end().value > dump.size() || offset < header.descriptors.value) {
    throw Error(ErrorKind::corrupt, dump.name(), at.value,
                "data of a page is said to lie at " + hex(offset) + ", outside of the dump's data");
  }
  const bool good =
      page.compressed ? size != 0 && size <= header.block_size : size == header.block_size;
  if (!good) {
    throw Error(ErrorKind::corrupt, dump.name(), at.value + 8,
                "size of a page's data is " + std::to_string(size) +
                    (page.compressed ? "" : " although it is not compressed"));
  }
  page.data = *data;
  return page;
}

/// What one call of read_at() works with: a window of the dump that moves forward, and the page
/// that was read last from behind it, since all zero pages share one place.
class PageSource::Reader {
 public:
  explicit Reader(const PageSource& source) : source_(source) {}

  /// Reads page `i` of `pages` whole.
  void read(std::span<const PageDescriptor> pages, std::size_t i, std::span<std::byte> out) {
    const PageDescriptor& page = pages[i];
    if (page.data.empty()) {
      std::fill(out.begin(), out.end(), std::byte{0});
      return;
    }
    if (behind_ == page) {
      std::copy(behind_plain_.begin(), behind_plain_.end(), out.begin());
      return;
    }
    if (page.data.begin() < window_.begin()) {
      source_.read_page(page, out);
      behind_ = page;
      behind_plain_.assign(out.begin(), out.end());
      return;
    }
    if (!window_.contains(page.data)) fill(pages.subspan(i));
    source_.decode(
        page,
        std::span(buffer_).subspan(static_cast<std::size_t>(page.data.begin() - window_.begin()),
                                   static_cast<std::size_t>(page.data.size())),
        out);
  }

 private:
  /// Moves the window to the first of `pages` and those behind it that follow without a gap.
  void fill(std::span<const PageDescriptor> pages) {
    FileRange range = pages.front().data;
    for (const PageDescriptor& page : pages) {
      if (page.data.begin() != range.end()) continue;
      if (page.data.end() - range.begin() > kWindow) break;
      range = FileRange::between(range.begin(), page.data.end());
    }
    buffer_.resize(static_cast<std::size_t>(range.size()));
    window_ = {};
    source_.dump_->read_at(range.begin(), buffer_);
    window_ = range;
  }

  const PageSource& source_;
  FileRange window_;
  std::vector<std::byte> buffer_;
  PageDescriptor behind_;  ///< without data if there is none
  std::vector<std::byte> behind_plain_;
};

PageSource::PageSource(std::shared_ptr<const ByteSource> dump, Header header, std::uint64_t pages,
                       bool damage_is_zero)
    : dump_(std::move(dump)),
      header_(std::move(header)),
      pages_(pages),
      damage_is_zero_(damage_is_zero) {}

void PageSource::decode(const PageDescriptor& page, std::span<const std::byte> packed,
                        std::span<std::byte> out) const {
  if (!page.compressed) {
    std::copy(packed.begin(), packed.end(), out.begin());
    return;
  }
  try {
    decode_page(page.codec, packed, out);
  } catch (const DecodeError& error) {
    throw Error(ErrorKind::corrupt, dump_->name(), page.data.begin().value,
                "page: " + std::string(error.what()));
  }
}

void PageSource::read_page(const PageDescriptor& page, std::span<std::byte> out) const {
  std::vector<std::byte> packed(static_cast<std::size_t>(page.data.size()));
  dump_->read_at(page.data.begin(), packed);
  decode(page, packed, out);
}

std::vector<PageDescriptor> PageSource::descriptors(std::uint64_t first, std::size_t count) const {
  constexpr std::size_t kSize = PageDescriptor::kSize;
  const FileOffset at = header_.descriptors + first * kSize;
  std::vector<std::byte> bytes(count * kSize);
  dump_->read_at(at, bytes);
  std::vector<PageDescriptor> pages;
  pages.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    try {
      pages.push_back(parse_descriptor(std::span(bytes).subspan(i * kSize).first<kSize>(), *dump_,
                                       header_, at + i * kSize));
    } catch (const Error&) {
      if (!damage_is_zero_) throw;
      pages.emplace_back();
    }
  }
  return pages;
}

void PageSource::read_at(FileOffset at, std::span<std::byte> out) const {
  const auto range = FileRange::try_sized(at, out.size());
  if (!range || range->end().value > size()) {
    throw Error(ErrorKind::io, name(), std::nullopt, "read: past the last page");
  }
  if (out.empty()) return;
  const std::uint64_t block = header_.block_size;
  const std::uint64_t first = at.value / block;
  const std::uint64_t end = (range->end().value + block - 1) / block;
  const auto pages = descriptors(first, static_cast<std::size_t>(end - first));
  Reader reader(*this);
  std::vector<std::byte> plain(block);
  for (std::size_t i = 0; i < pages.size(); ++i) {
    const auto page = FileRange::sized({(first + i) * block}, block);
    const FileRange wanted = page.intersection(*range);
    const auto target = out.subspan(static_cast<std::size_t>(wanted.begin() - at),
                                    static_cast<std::size_t>(wanted.size()));
    const auto into = wanted == page ? target : std::span(plain);
    try {
      reader.read(pages, i, into);
    } catch (const Error& error) {
      if (!damage_is_zero_ || error.kind() != ErrorKind::corrupt) throw;
      std::fill(into.begin(), into.end(), std::byte{0});
    }
    if (wanted == page) continue;
    const auto skip = static_cast<std::ptrdiff_t>(wanted.begin() - page.begin());
    std::copy_n(plain.begin() + skip, target.size(), target.begin());
  }
}

}  // namespace vmconvert::kdump
