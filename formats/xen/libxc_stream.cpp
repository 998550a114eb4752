#include "xen/libxc_stream.h"

#include <string>

#include "vmconvert/base/text.h"
#include "xen/xen_format.h"

namespace vmconvert::xen {
namespace {

// Truth: Xen 4.17, docs/specs/libxc-migration-stream.pandoc.
//   image header, big-endian: u64 ~0, u32 "XENF", u32 version, u16 options, u16 and u32 zero
//   domain header: u32 type, u16 page_shift, u16 0, u32 xen_major, u32 xen_minor
//   PAGE_DATA: u32 count, u32 0, u64 words[count], then a page for each word whose type has one
constexpr std::uint64_t kMarker = ~std::uint64_t{0};
constexpr std::uint32_t kId = 0x58454e46;
constexpr std::uint32_t kOldest = 2, kNewestVersion = 3;
constexpr std::uint16_t kBigEndian = 1;
constexpr std::uint32_t kTypePv = 1, kTypeHvm = 2;

constexpr unsigned kTypeShift = 60;
constexpr std::uint64_t kPfnMask = (std::uint64_t{1} << 52) - 1;

/// True if page bytes follow for a word of this type.
bool has_page(std::uint64_t type) { return type < 0xd; }

void apply_page_data(Cursor cursor, bool complete, SavedGuest& guest) {
  const auto count = cursor.read<std::uint32_t>("page count");
  if (count == 0) cursor.fail("page count", "is zero");
  if (count > (libxc::kLargestBody - 8) / 8)
    cursor.fail("page count", "is " + std::to_string(count) + ", more than a record can hold");
  cursor.read<std::uint32_t>("reserved");
  const FileRange words = cursor.take(std::uint64_t{count} * 8, "page list");
  const std::uint64_t bytes = cursor.remaining();
  std::uint64_t pages = 0;
  Cursor list(cursor.source(), words, std::endian::little);
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto word = list.read<std::uint64_t>("page word");
    const std::uint64_t type = word >> kTypeShift;
    if (type >= 5 && type <= 8)
      list.fail("page word", hex(word) + " is of a type that there is not");
    if ((word & kPfnMask) >= kFramesEnd)
      list.fail("page word", hex(word) + " is of a page too high");
    if (has_page(type)) ++pages;
  }
  if (complete && pages * kPage != bytes) {
    cursor.fail("page data",
                "has " + std::to_string(bytes) + " bytes for " + counted(pages, "page"));
  }
  FileOffset at = cursor.position();
  list.seek(words.begin(), "page list");
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto word = list.read<std::uint64_t>("page word");
    if (!has_page(word >> kTypeShift)) {
      guest.pages.drop(word & kPfnMask);
      continue;
    }
    if (cursor.end() - at < kPage) cursor.fail("page data", "is cut off");  // never if complete
    guest.pages.add(word & kPfnMask, at);
    at = at + kPage;
  }
}

void apply_pv_info(Cursor cursor, SavedGuest& guest) {
  const auto width = cursor.read<std::uint8_t>("guest width");
  if (width != 4 && width != 8) cursor.fail("guest width", "is " + std::to_string(width));
  const auto levels = cursor.read<std::uint8_t>("page-table levels");
  if (levels != (width == 8 ? 4 : 3))
    cursor.fail("page-table levels", "are " + std::to_string(levels));
  if (!guest.contexts.empty() && guest.width != width)
    cursor.fail("guest width", "comes behind registers of another width");
  guest.width = width;
}

void apply_vcpu(Cursor cursor, SavedGuest& guest) {
  const auto number = cursor.read<std::uint32_t>("vCPU number");
  if (number >= kMostVcpus)
    cursor.fail("vCPU number", "is " + std::to_string(number) + ", more than a guest has");
  cursor.read<std::uint32_t>("reserved");
  const std::uint64_t size = guest.width == 4 ? kContext32 : kContext64;
  guest.contexts[number] = cursor.take(size, "registers").begin();
}

void apply_shared_info(Cursor cursor, SavedGuest& guest) {
  guest.shared_info = cursor.take(kPage, "shared info page");
}

void apply_p2m_frames(Cursor cursor, SavedGuest& guest) {
  cursor.read<std::uint32_t>("first pfn");
  const auto last = cursor.read<std::uint32_t>("last pfn");
  guest.p2m_entries = std::uint64_t{last} + 1;
}

}  // namespace

void read_libxc_headers(Cursor& cursor, SavedGuest& guest) {
  const FileOffset begin = cursor.position();
  const auto big = [&](unsigned size, std::string_view field) {
    std::uint64_t value = 0;
    for (unsigned i = 0; i < size; ++i) value = value << 8 | cursor.read<std::uint8_t>(field);
    return value;
  };
  const auto fail = [&](std::uint64_t at, const std::string& why, ErrorKind kind) {
    throw Error(kind, cursor.source().name(), begin.value + at, why);
  };
  if (big(8, "marker") != kMarker || big(4, "id") != kId)
    fail(0, "is no libxc stream", ErrorKind::corrupt);
  const std::uint64_t version = big(4, "version");
  if (version < kOldest || version > kNewestVersion) {
    fail(12, "version " + std::to_string(version) + " of the libxc stream is not supported",
         ErrorKind::unsupported);
  }
  if ((big(2, "options") & kBigEndian) != 0)
    fail(16, "big-endian libxc streams are not supported", ErrorKind::unsupported);
  big(6, "reserved");
  const auto type = cursor.read<std::uint32_t>("domain type");
  if (type != kTypePv && type != kTypeHvm)
    cursor.fail("domain type", std::to_string(type) + " is not known", ErrorKind::unsupported);
  guest.pv = type == kTypePv;
  const auto shift = cursor.read<std::uint16_t>("page shift");
  if (shift != kPageShift) {
    cursor.fail("page shift", std::to_string(shift) + " is not supported; only 12 is",
                ErrorKind::unsupported);
  }
  cursor.read<std::uint16_t>("reserved");
  const auto major = cursor.read<std::uint32_t>("Xen version");
  const auto minor = cursor.read<std::uint32_t>("Xen version");
  guest.facts.push_back({"xen.stream", "libxc version " + std::to_string(version)});
  // A converter of legacy streams leaves its own version as the minor one, and no major one.
  if (major != 0) {
    guest.major = major, guest.minor = minor;
    guest.facts.push_back({"xen.version", std::to_string(major) + "." + std::to_string(minor)});
  }
}

void apply_libxc_record(const ByteSource& source, std::uint32_t type, FileRange body, bool complete,
                        SavedGuest& guest) {
  const Cursor cursor(source, body, std::endian::little);
  switch (type) {
    case libxc::kPageData:
      return apply_page_data(cursor, complete, guest);
    case libxc::kPvInfo:
      return apply_pv_info(cursor, guest);
    case libxc::kP2mFrames:
      return apply_p2m_frames(cursor, guest);
    case libxc::kVcpuBasic:
      return apply_vcpu(cursor, guest);
    case libxc::kSharedInfo:
      return apply_shared_info(cursor, guest);
    case libxc::kHvmContext:
      guest.hvm_context = body;
      return;
    default:
      return;
  }
}

}  // namespace vmconvert::xen
