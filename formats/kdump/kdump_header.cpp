#include "kdump/kdump_header.h"

#include <algorithm>
#include <array>
#include <optional>

#include "vmconvert/base/text.h"
#include "vmconvert/io/cursor.h"

namespace vmconvert::kdump {
namespace {

// Truth: makedumpfile 1.7.2, diskdump_mod.h, struct disk_dump_header and kdump_sub_header, as a
// compiler of the guest's architecture lays them out; checked with files of QEMU 7.2 and 10.0 and
// of makedumpfile 1.7.2. Page: docs/formats/kdump.md
constexpr std::uint64_t kSignature = 8, kUtsField = 65, kUtsFields = 6;
constexpr std::uint64_t kStatusAt32 = 412, kStatusAt64 = 424;
constexpr std::uint32_t kNewestVersion = 6;
constexpr std::uint32_t kSmallestBlock = 4096, kLargestBlock = 65536;
// A utsname, a few fields and notes; more would be no header.
constexpr std::uint32_t kLargestSubHeader = std::uint32_t{256} << 20;
// Of 4 KiB each: the 56 bits of address that processors have.
constexpr std::uint64_t kMostPages = std::uint64_t{1} << 44;

FileRange whole(const ByteSource& source) { return FileRange::sized({0}, source.size()); }

std::string until_nul(std::string text) {
  text.resize(std::min(text.size(), text.find('\0')));
  return text;
}

struct Layout {
  std::endian order;
  bool is_64;
};
constexpr std::array kLayouts{Layout{std::endian::little, true}, Layout{std::endian::big, true},
                              Layout{std::endian::little, false}, Layout{std::endian::big, false}};

bool is_block_size(std::uint32_t n) {
  return std::has_single_bit(n) && n >= kSmallestBlock && n <= kLargestBlock;
}

/// Nothing in a header names its layout: it is the one in which version and block size make sense.
std::optional<Layout> find_layout(const ByteSource& source) {
  for (const Layout& layout : kLayouts) {
    Cursor cursor(source, whole(source), layout.order);
    cursor.take(kSignature, "signature");
    const auto version = cursor.read<std::uint32_t>("header_version");
    cursor.seek({layout.is_64 ? kStatusAt64 : kStatusAt32}, "status");
    cursor.read<std::uint32_t>("status");
    const auto block_size = cursor.read<std::uint32_t>("block_size");
    if (version < 0x10000 && is_block_size(block_size)) return layout;
  }
  return std::nullopt;
}

/// The sub header, field by field; those that its version does not have stay as they are.
class SubHeader {
 public:
  SubHeader(const ByteSource& source, const Layout& layout, std::uint32_t block_size)
      : cursor_(source, whole(source), layout.order), layout_(layout) {
    cursor_.seek({block_size}, "sub header");
  }

  void read(Header& header) {
    native("phys_base");
    header.dump_level = cursor_.read<std::uint32_t>("dump_level");
    if (header.version >= 2) refuse_split();
    if (header.version >= 3) header.vmcoreinfo = range("vmcoreinfo");
    if (header.version >= 4) header.notes = range("notes");
    if (header.version >= 5) range("eraseinfo");
    if (header.version < 6) return;
    cursor_.read<std::uint64_t>("start_pfn_64");
    cursor_.read<std::uint64_t>("end_pfn_64");
    header.max_mapnr = cursor_.read<std::uint64_t>("max_mapnr_64");
    if (header.max_mapnr > kMostPages) {
      cursor_.fail("max_mapnr_64", "is " + hex(header.max_mapnr) + ", more than any guest has");
    }
  }

 private:
  std::uint64_t native(std::string_view field) {
    return layout_.is_64 ? cursor_.read<std::uint64_t>(field) : cursor_.read<std::uint32_t>(field);
  }
  void refuse_split() {
    if (cursor_.read<std::uint32_t>("split") != 0) {
      cursor_.fail("split",
                   "says that this is one part of a split dump; join all parts with "
                   "makedumpfile --reassemble",
                   ErrorKind::unsupported);
    }
    native("start_pfn");
    native("end_pfn");
  }
  FileRange range(const std::string& name) {
    const auto offset = cursor_.read<std::uint64_t>("offset of " + name);
    const std::uint64_t size = native("size of " + name);
    if (offset == 0 || size == 0) return {};
    const auto found = FileRange::try_sized({offset}, size);
    if (!found || found->end().value > cursor_.source().size()) {
      cursor_.fail("size of " + name, "is " + std::to_string(size) + " at " + hex(offset) +
                                          ", more than the dump holds");
    }
    return *found;
  }

  Cursor cursor_;
  Layout layout_;
};

/// Places of the bitmaps and descriptors, which follow the headers block by block.
void place_tables(Cursor& cursor, std::uint64_t first_block, std::uint64_t bitmap_blocks,
                  Header& header) {
  if (bitmap_blocks % 2 != 0) cursor.fail("bitmap_blocks", "is odd, but there are two bitmaps");
  const std::uint64_t size = bitmap_blocks / 2 * header.block_size;
  const std::uint64_t begin = first_block * header.block_size;
  if (begin + 2 * size > cursor.source().size()) {
    cursor.fail("bitmap_blocks",
                "is " + std::to_string(bitmap_blocks) + ", more than the dump holds");
  }
  header.bitmap1 = FileRange::sized({begin}, size);
  header.bitmap2 = FileRange::sized({begin + size}, size);
  header.descriptors = header.bitmap2.end();
  if ((header.max_mapnr + 7) / 8 > size) {
    cursor.fail("bitmap_blocks", "is " + std::to_string(bitmap_blocks) + ", too small for " +
                                     std::to_string(header.max_mapnr) + " pages");
  }
}

}  // namespace

Header read_header(const ByteSource& source) {
  const auto layout = find_layout(source);
  Cursor cursor(source, whole(source), layout ? layout->order : std::endian::little);
  if (!layout) {
    cursor.seek({kStatusAt64 + 4}, "block_size");
    cursor.fail("block_size", "is none that pages have, in no byte order and width");
  }
  Header header{.order = layout->order, .is_64 = layout->is_64};
  cursor.take(kSignature, "signature");
  header.version = cursor.read<std::uint32_t>("header_version");
  if (header.version < 1 || header.version > kNewestVersion) {
    cursor.fail("header_version", std::to_string(header.version) + " is not known (1 to 6 are)",
                ErrorKind::unsupported);
  }
  std::array<std::string, kUtsFields> uts;  // sysname, nodename, release, version, machine, domain
  for (std::string& field : uts) field = until_nul(cursor.read_text(kUtsField, "utsname"));
  header.release = uts[2];
  header.machine = uts[4];
  cursor.seek({layout->is_64 ? kStatusAt64 : kStatusAt32}, "status");
  header.status = cursor.read<std::uint32_t>("status");
  header.block_size = cursor.read<std::uint32_t>("block_size");
  const auto sub_hdr_size = cursor.read<std::uint32_t>("sub_hdr_size");
  if (sub_hdr_size == 0 || sub_hdr_size > kLargestSubHeader / header.block_size) {
    cursor.fail("sub_hdr_size", "is " + std::to_string(sub_hdr_size));
  }
  const auto bitmap_blocks = cursor.read<std::uint32_t>("bitmap_blocks");
  Cursor at_bitmap_blocks = cursor;
  header.max_mapnr = cursor.read<std::uint32_t>("max_mapnr");
  SubHeader(source, *layout, header.block_size).read(header);
  place_tables(at_bitmap_blocks, std::uint64_t{1} + sub_hdr_size, bitmap_blocks, header);
  return header;
}

}  // namespace vmconvert::kdump
