#include "qemu/libvirt_save.h"

#include <array>
#include <bit>
#include <optional>
#include <string_view>

#include "qemu/libvirt_domain.h"
#include "qemu/libvirt_metadata.h"
#include "qemu/qevm_reader.h"
#include "vmconvert/base/text.h"
#include "vmconvert/io/cursor.h"

namespace vmconvert::qemu {
namespace {

// Truth: libvirt, src/qemu/qemu_saveimage.h, struct _virQEMUSaveHeader; integers in the byte order
// of the host that wrote it.
//   0 magic[16], 16 version, 20 data_len, 24 was_running, 28 format, 32 cookieOffset, 36 unused[14]
//   92 domain XML, NUL, [cookie, NUL], zeros: data_len bytes; then the stream, maybe compressed
constexpr std::string_view kMagic = "LibvirtQemudSave";
constexpr std::string_view kPartialMagic = "LibvirtQemudPart";
constexpr std::uint64_t kHeaderSize = 92;
constexpr std::uint64_t kUnusedSize = std::uint64_t{14} * 4;
constexpr std::uint32_t kNewestVersion = 2;
constexpr std::uint64_t kLargestXml = 64U << 20;

// The last is "sparse": a plain stream with capability mapped-ram, whose offsets count from the
// beginning of this file.
constexpr std::array<std::optional<Codec>, 7> kCodecs{
    std::nullopt, Codec::gzip, Codec::bzip2, Codec::xz, Codec::lzop, Codec::zstd, std::nullopt};

bool starts_with(std::span<const std::byte> head, std::string_view text) {
  return std::string_view(reinterpret_cast<const char*>(head.data()), head.size())
      .starts_with(text);
}

Match probe(const ProbeWindow& window) noexcept {
  return starts_with(window.head, kMagic) || starts_with(window.head, kPartialMagic) ? Match::yes
                                                                                     : Match::no;
}

struct Header {
  std::uint32_t version = 0;
  std::uint32_t data_len = 0;
  std::uint32_t was_running = 0;
  std::uint32_t format = 0;
  std::uint32_t cookie_offset = 0;
};

Header read_header(const ByteSource& source, std::endian order) {
  Cursor cursor(source, FileRange::sized({0}, source.size()), order);
  cursor.take(kMagic.size(), "magic");
  const auto version = cursor.read<std::uint32_t>("version");
  if (version > kNewestVersion && order == std::endian::little)
    return read_header(source, std::endian::big);
  if (version == 0 || version > kNewestVersion) {
    cursor.fail("version", std::to_string(version) + " is unknown", ErrorKind::unsupported);
  }
  Header header;
  header.version = version;
  header.data_len = cursor.read<std::uint32_t>("data_len");
  if (header.data_len > source.size() - kHeaderSize)
    cursor.fail("data_len", "is more than the file holds");
  header.was_running = cursor.read<std::uint32_t>("was_running");
  header.format = cursor.read<std::uint32_t>("format");
  if (version == 1) header.format = 0;  // the field came with version 2
  if (header.format >= kCodecs.size()) {
    cursor.fail("format", std::to_string(header.format) + " is unknown", ErrorKind::unsupported);
  }
  header.cookie_offset = cursor.read<std::uint32_t>("cookieOffset");
  if (header.cookie_offset > header.data_len) cursor.fail("cookieOffset", "lies outside the data");
  cursor.take(kUnusedSize, "unused");
  return header;
}

/// Text in the data area, without the NUL that ends it.
struct SavedText {
  FileRange place;
  std::string text;
};
SavedText read_saved_text(const ByteSource& source, FileRange area, std::string_view field) {
  Cursor cursor(source, area, std::endian::little);
  std::string text = cursor.read_text(std::min(area.size(), kLargestXml), field);
  if (const auto nul = text.find('\0'); nul != std::string::npos) text.resize(nul);
  const auto place = FileRange::sized(area.begin(), text.size());
  return {place, std::move(text)};
}

void check_complete(const ByteSource& source, std::span<const std::byte> magic, bool salvage,
                    Diagnostics& diagnostics) {
  if (!starts_with(magic, kPartialMagic)) return;
  const std::string_view text = "is marked \"LibvirtQemudPart\": libvirt did not finish this save";
  if (!salvage) {
    throw Error(ErrorKind::corrupt, source.name(), 0,
                std::string(text) + " (--salvage converts what is there)");
  }
  diagnostics.loss(source.name(), 0, text);
}

GuestImage read(const Input& input, const ReadOptions& options, Diagnostics& diagnostics) {
  const ByteSource& source = *input.source();
  if (source.size() < kHeaderSize) {
    throw Error(ErrorKind::corrupt, source.name(), source.size(),
                "the libvirt save header is cut off");
  }
  std::array<std::byte, kMagic.size()> magic{};
  source.read_at({0}, magic);
  if (!starts_with(magic, kMagic) && !starts_with(magic, kPartialMagic)) {
    throw Error(ErrorKind::corrupt, source.name(), 0, "magic is not that of a libvirt save image");
  }
  check_complete(source, magic, options.salvage, diagnostics);
  const Header header = read_header(source, std::endian::little);
  const FileOffset begin{kHeaderSize + header.data_len};
  const FileOffset cookie_at{kHeaderSize + header.cookie_offset};
  const auto xml = read_saved_text(
      source, FileRange::between({kHeaderSize}, header.cookie_offset != 0 ? cookie_at : begin),
      "domain XML");
  ReadOptions with_domain = options;
  add_domain_facts(xml.text, source.name(), with_domain, diagnostics);
  const auto codec = kCodecs[header.format];
  const auto body = FileRange::between(begin, {source.size()});
  GuestImage image =
      codec ? read_qevm(input.unpack(body, *codec, diagnostics), {0}, with_domain, diagnostics)
            : read_qevm(input.source(), begin, with_domain, diagnostics);

  SaveFacts facts{header.version, header.was_running != 0, codec ? codec_name(*codec) : "raw",
                  xml.place, std::nullopt};
  if (header.cookie_offset != 0) {
    const auto cookie = read_saved_text(source, FileRange::between(cookie_at, begin), "cookie");
    if (!cookie.place.empty()) facts.cookie = cookie.place;
  }
  describe_save(input.source(), facts, xml.text, image);
  return image;
}

}  // namespace

constinit const Format kLibvirtSave{
    .name = "libvirt-save",
    .summary = "libvirt save image (virsh save, managedsave, external snapshot memory)",
    .probe = probe,
    .read = read,
};

}  // namespace vmconvert::qemu
