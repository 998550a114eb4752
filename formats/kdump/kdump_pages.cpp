#include "kdump/kdump_pages.h"

#include <algorithm>
#include <bit>
#include <set>

#include "kdump/page_source.h"
#include "vmconvert/base/text.h"
#include "vmconvert/model/lost_memory.h"

namespace vmconvert::kdump {
namespace {

constexpr std::uint64_t kBitmapChunk = 64 * 1024;  // bytes read at a time, 2 GiB of guest memory
constexpr std::size_t kDescriptorChunk = 16 * 1024;
constexpr std::uint32_t kRunPage = 4096;

/// Walks both bitmaps and hands each page frame that exists or is stored to `visit`.
template <class Visit>
void for_each_frame(const ByteSource& dump, const Header& header, const Visit& visit) {
  const std::uint64_t bytes = (header.max_mapnr + 7) / 8;
  std::vector<std::byte> exists, stored;
  for (std::uint64_t begin = 0; begin < bytes; begin += kBitmapChunk) {
    const auto size = static_cast<std::size_t>(std::min(kBitmapChunk, bytes - begin));
    exists.resize(size);
    stored.resize(size);
    dump.read_at(header.bitmap1.begin() + begin, exists);
    dump.read_at(header.bitmap2.begin() + begin, stored);
    for (std::size_t i = 0; i < size; ++i) {
      const auto e = std::to_integer<unsigned>(exists[i]), s = std::to_integer<unsigned>(stored[i]);
      for (unsigned left = e | s; left != 0; left &= left - 1) {
        const auto bit = static_cast<unsigned>(std::countr_zero(left));
        const std::uint64_t pfn = (begin + i) * 8 + bit;
        if (pfn >= header.max_mapnr) return;
        visit(pfn, (s >> bit & 1U) != 0);
      }
    }
  }
}

/// The pages that have a descriptor, and those that were left out.
PageSummary count_pages(const ByteSource& dump, const Header& header) {
  PageSummary summary;
  for_each_frame(dump, header, [&](std::uint64_t, bool stored) {
    ++(stored ? summary.stored : summary.excluded);
  });
  return summary;
}

/// Turns descriptors, as they come, into runs.
class RunMaker {
 public:
  RunMaker(const Header& header, const PageSource& source, bool salvage)
      : header_(header), source_(source), salvage_(salvage), plain_(header.block_size) {}

  void add(std::uint64_t pfn, std::uint64_t index, const PageDescriptor& page) {
    const std::uint64_t block = header_.block_size;
    const auto guest = GuestRange::sized({pfn * block}, block);
    if (salvage_ && !is_sound(guest, page)) return;
    if (page.compressed) codecs_.insert(page.codec);
    if (is_shared_zero(page)) {
      runs_.add({guest, Filled{}});
    } else {
      runs_.add({guest, InFile{0, kRunPage, {index * block}}});
    }
  }

  void add_zero(std::uint64_t pfn) {
    const std::uint64_t block = header_.block_size;
    runs_.add({GuestRange::sized({pfn * block}, block), Filled{}});
  }

  RunList finish() { return runs_.finish(); }
  const LostMemory& lost() const { return lost_; }
  std::string codecs() const {
    std::string text;
    for (const PageCodec codec : codecs_) {
      if (!text.empty()) text += ", ";
      text += page_codec_name(codec);
    }
    return text.empty() ? "none" : text;
  }

 private:
  /// True if the page lies where the zero page does that all zero pages share. Writers put it in
  /// front of everything, so a page whose data lies behind that of an earlier one is looked at.
  bool is_shared_zero(const PageDescriptor& page) {
    if (page.data.begin() >= farthest_) {
      farthest_ = page.data.end();
      return false;
    }
    if (shared_ != page) {
      source_.read_page(page, plain_);
      shared_ = page;
      shared_is_zero_ =
          std::all_of(plain_.begin(), plain_.end(), [](std::byte b) { return b == std::byte{0}; });
    }
    return shared_is_zero_;
  }

  bool is_sound(GuestRange guest, const PageDescriptor& page) {
    if (page.data.empty()) {
      lost_.add(guest, source_.name() + ": descriptor of a page is damaged");
      return false;
    }
    if (verified_ == page) return true;
    try {
      source_.read_page(page, plain_);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::corrupt) throw;
      lost_.add(guest, error.what());
      return false;
    }
    verified_ = page;
    return true;
  }

  const Header& header_;
  const PageSource& source_;
  bool salvage_;
  RunListBuilder runs_{kRunPage};
  LostMemory lost_;
  std::set<PageCodec> codecs_;
  FileOffset farthest_;
  PageDescriptor shared_, verified_;  ///< without data at first
  bool shared_is_zero_ = false;
  std::vector<std::byte> plain_;
};

void check_table(const ByteSource& dump, const Header& header, std::uint64_t pages) {
  const std::uint64_t room = dump.size() - header.descriptors.value;
  if (pages <= room / PageDescriptor::kSize) return;
  throw Error(ErrorKind::corrupt, dump.name(), header.descriptors.value,
              "page descriptors are cut off: " + std::to_string(pages) + " wanted, " +
                  std::to_string(room / PageDescriptor::kSize) + " left");
}

}  // namespace

PageSummary read_pages(std::shared_ptr<const ByteSource> dump, const Header& header, bool salvage,
                       GuestImage& image, Diagnostics& diagnostics) {
  PageSummary summary = count_pages(*dump, header);
  // Level 1 excludes pages of zeros and nothing else, unless the dump broke off.
  summary.excluded_are_zero = header.dump_level == 1 && (header.status & kStatusIncomplete) == 0;
  check_table(*dump, header, summary.stored);
  const auto source = std::make_shared<PageSource>(dump, header, summary.stored, salvage);
  RunMaker runs(header, *source, salvage);
  std::vector<PageDescriptor> pages;
  std::uint64_t index = 0;
  for_each_frame(*dump, header, [&](std::uint64_t pfn, bool stored) {
    if (!stored) {
      if (summary.excluded_are_zero) runs.add_zero(pfn);
      return;
    }
    const auto in_chunk = static_cast<std::size_t>(index % kDescriptorChunk);
    if (in_chunk == 0) {
      const std::uint64_t left = summary.stored - index;
      pages = source->descriptors(
          index, static_cast<std::size_t>(std::min<std::uint64_t>(left, kDescriptorChunk)));
    }
    runs.add(pfn, index, pages[in_chunk]);
    ++index;
  });
  image.sources.push_back(source);
  image.runs = runs.finish();
  summary.codecs = runs.codecs();
  runs.lost().report(diagnostics);
  return summary;
}

}  // namespace vmconvert::kdump
