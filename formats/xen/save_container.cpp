#include "xen/save_container.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "vmconvert/base/text.h"
#include "vmconvert/io/cursor.h"
#include "xen/legacy_stream.h"
#include "xen/libxl_stream.h"

namespace vmconvert::xen {
namespace {

using namespace std::string_view_literals;

// Truth: Xen 4.17, tools/xl/xl.h (struct save_file_header); Xen 4.5, tools/python/xen/xend/
// XendCheckpoint.py; libvirt 9.0, src/libxl/libxl_conf.h (libxlSavefileHeader).
//   xl       32 bytes of magic, u32 byte order, mandatory flags, optional flags, size of optional
//            data; that data: u32 size of the configuration, its NUL included, and the
//            configuration
//   xend     16 bytes of magic, u32 big-endian size of the configuration, the configuration
//   libvirt  16 bytes of magic, u32 version, u32 size of the XML, u32 unused[10], the XML
constexpr std::string_view kXlMagic = "Xen saved domain, xl format\n \0 \r"sv;
constexpr std::string_view kXendMagic = "LinuxGuestRecord";
constexpr std::string_view kLibvirtMagic = "libvirt-xml\n \0 \r"sv;
static_assert(kXlMagic.size() == 32 && kXendMagic.size() == 16 && kLibvirtMagic.size() == 16);
constexpr std::uint32_t kByteOrder = 0x01020304, kSwappedOrder = 0x04030201;
constexpr std::uint32_t kJsonConfig = 1, kCurrentStream = 2;
constexpr std::uint64_t kLibvirtUnused = 40;

// A wrapper that is not known may have a stream within so much of its beginning.
constexpr std::uint64_t kSearched = 1 << 20;
constexpr std::size_t kDecisive = 40;  ///< bytes of a stream's headers

bool starts_with(std::span<const std::byte> head, std::string_view text) {
  return std::string_view(reinterpret_cast<const char*>(head.data()), head.size())
      .starts_with(text);
}

bool is_current_stream(std::span<const std::byte> head) {
  return is_libxl_stream(head) || is_libxc_stream(head);
}

/// The first current stream that begins in `bytes`.
std::optional<std::size_t> find_stream(std::span<const std::byte> bytes) {
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    const auto rest = bytes.subspan(at);
    if (rest.size() < 16) break;
    if (rest[0] != std::byte{'L'} && rest[0] != std::byte{0xff}) continue;
    if (is_current_stream(rest)) return at;
  }
  return std::nullopt;
}

std::vector<std::byte> bytes_at(const ByteSource& source, FileOffset at, std::uint64_t most) {
  std::vector<std::byte> bytes;
  if (at.value >= source.size()) return bytes;
  bytes.resize(static_cast<std::size_t>(std::min(most, source.size() - at.value)));
  source.read_at(at, bytes);
  return bytes;
}

class Opener {
 public:
  explicit Opener(const ByteSource& source)
      : source_(source),
        cursor_(source, FileRange::sized({0}, source.size()), std::endian::little) {}

  SaveContainer open() {
    const auto head = bytes_at(source_, {0}, kDecisive);
    if (starts_with(head, kXlMagic)) return open_xl();
    if (starts_with(head, kXendMagic)) return open_xend();
    if (starts_with(head, kLibvirtMagic)) return open_libvirt();
    return open_bare();
  }

 private:
  SaveContainer open_xl() {
    SaveContainer result{.name = "xl save file"};
    cursor_.take(kXlMagic.size(), "magic");
    const auto order = cursor_.read<std::uint32_t>("byte order");
    if (order == kSwappedOrder)
      cursor_.fail("byte order", "is big-endian, which is not supported", ErrorKind::unsupported);
    if (order != kByteOrder) cursor_.fail("byte order", hex(order) + " is not known");
    const auto flags = cursor_.read<std::uint32_t>("mandatory flags");
    if ((flags & ~(kJsonConfig | kCurrentStream)) != 0)
      cursor_.fail("mandatory flags", hex(flags) + " are not known", ErrorKind::unsupported);
    cursor_.read<std::uint32_t>("optional flags");
    const auto optional = cursor_.read<std::uint32_t>("optional data size");
    const FileRange data = cursor_.take(optional, "optional data");
    if (!data.empty()) {
      Cursor inside(source_, data, std::endian::little);
      const auto size = inside.read<std::uint32_t>("configuration size");
      set_config(inside.take(size, "configuration"), result);
    }
    result.config_kind =
        (flags & kJsonConfig) != 0 ? SaveContainer::Config::json : SaveContainer::Config::xl;
    result.begin = cursor_.position();
    if ((flags & kCurrentStream) == 0) result.stream = SaveContainer::Stream::legacy;
    return result;
  }

  SaveContainer open_xend() {
    SaveContainer result{.name = "xend save file",
                         .stream = SaveContainer::Stream::legacy,
                         .config_kind = SaveContainer::Config::xend};
    Cursor big(source_, FileRange::sized({0}, source_.size()), std::endian::big);
    big.take(kXendMagic.size(), "magic");
    const auto size = big.read<std::uint32_t>("configuration size");
    set_config(big.take(size, "configuration"), result);
    result.begin = big.position();
    return result;
  }

  SaveContainer open_libvirt() {
    SaveContainer result{.name = "libvirt save file",
                         .config_kind = SaveContainer::Config::libvirt};
    cursor_.take(kLibvirtMagic.size(), "magic");
    cursor_.read<std::uint32_t>("version");
    const auto size = cursor_.read<std::uint32_t>("XML size");
    cursor_.take(kLibvirtUnused, "unused");
    set_config(cursor_.take(size, "domain XML"), result);
    result.begin = cursor_.position();
    const auto rest = bytes_at(source_, result.begin, kSearched);
    if (const auto found = find_stream(rest)) {
      result.begin = result.begin + *found;
    } else {
      result.stream = SaveContainer::Stream::legacy;
    }
    return result;
  }

  SaveContainer open_bare() {
    SaveContainer result{.name = "save stream"};
    const auto head = bytes_at(source_, {0}, kSearched);
    if (const auto found = find_stream(head)) {
      result.begin = {*found};
      return result;
    }
    result.stream = SaveContainer::Stream::legacy;
    return result;
  }

  /// Without zeros at its end.
  void set_config(FileRange range, SaveContainer& result) const {
    constexpr std::uint64_t kMostZeros = 16;
    std::uint64_t size = range.size();
    for (std::uint64_t i = 0; i < kMostZeros && size != 0; ++i) {
      const auto last = bytes_at(source_, range.begin() + (size - 1), 1);
      if (last[0] != std::byte{0}) break;
      --size;
    }
    if (size != 0) result.config = FileRange::sized(range.begin(), size);
  }

  const ByteSource& source_;
  Cursor cursor_;
};

}  // namespace

SaveContainer open_save_container(const ByteSource& source) { return Opener(source).open(); }

SaveStart save_start(std::span<const std::byte> head) {
  if (starts_with(head, kXlMagic) || starts_with(head, kXendMagic) ||
      starts_with(head, kLibvirtMagic) || is_current_stream(head) || is_legacy_stream(head)) {
    return SaveStart::yes;
  }
  return find_stream(head) ? SaveStart::maybe : SaveStart::no;
}

}  // namespace vmconvert::xen
