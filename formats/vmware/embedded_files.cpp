#include "vmware/embedded_files.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "vmconvert/base/text.h"
#include "vmconvert/io/cursor.h"

namespace vmconvert::vmware {
namespace {

using Kind = Attachment::Kind;

// Real states have a few hundred blocks. Larger: a hostile file costs more memory and names.
constexpr std::size_t kMostFiles = 16384;
// Of one kind; more are counted.
constexpr unsigned kMostWarnings = 8;
// Of blocks that are compressed, which nobody has seen in a real file, together.
constexpr std::uint64_t kMostExpanded = std::uint64_t{64} << 20;

struct Known {
  std::string_view group, tag;
  Kind kind;
  std::string_view name, media_type;
};
// docs/formats/vmware.md, "Embedded files".
constexpr std::array kKnown{
    Known{"Snapshot", "cfgFile", Kind::configuration, "guest.vmx", "text/plain"},
    Known{"Snapshot", "extendedConfigFile", Kind::other, "guest.vmxf", "text/xml"},
    Known{"Snapshot", "nvramFile", Kind::other, "guest.nvram", "application/octet-stream"},
    Known{"Cs440bx", "romImage", Kind::other, "bios.rom", "application/octet-stream"}};
constexpr std::string_view kScreenGroup = "MKSVMX", kMainPicture = "imageData";

// PNG specification, 5.2 and 5.3: signature; chunks of size, type, bytes, check; IEND is the last.
constexpr std::array<unsigned char, 8> kPngSignature{0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
constexpr std::uint32_t kPngEnd = 0x49454e44;
constexpr std::uint64_t kPngCheck = 4;
// A picture of 100 MB in chunks of 8 KiB has fewer. Larger: a hostile one costs more time.
constexpr unsigned kMostChunks = 1 << 14;

bool is_png(const ByteSource& source, FileRange range) {
  std::array<std::byte, kPngSignature.size()> head{};
  if (range.size() < head.size()) return false;
  source.read_at(range.begin(), head);
  return std::equal(head.begin(), head.end(), kPngSignature.begin(),
                    [](std::byte a, unsigned char b) { return std::to_integer<unsigned>(a) == b; });
}

/// Bytes of the PNG file at the beginning of a range; all of the range if it has no end there.
std::uint64_t png_size(const ByteSource& source, FileRange range) {
  Cursor cursor(source, range, std::endian::big);
  cursor.take(kPngSignature.size(), "signature");
  for (unsigned i = 0; i < kMostChunks && cursor.remaining() >= 12; ++i) {
    const auto size = cursor.read<std::uint32_t>("size of a chunk");
    const auto type = cursor.read<std::uint32_t>("type of a chunk");
    if (cursor.remaining() < size + kPngCheck) break;
    cursor.take(size + kPngCheck, "chunk");
    if (type == kPngEnd) return cursor.position() - range.begin();
  }
  return range.size();
}

/// The content as a source, for what looks into it.
template <class Use>
auto with_content(const Attachment& file, const ByteSource& source, const Use& use) {
  if (const auto* place = std::get_if<SourceBytes>(&file.content)) return use(source, place->range);
  const MemorySource bytes("", std::get<std::vector<std::byte>>(file.content));
  return use(bytes, FileRange::sized({0}, bytes.size()));
}

}  // namespace

EmbeddedFiles::EmbeddedFiles(const Checkpoint& checkpoint, SourceId source,
                             Diagnostics& diagnostics)
    : checkpoint_(checkpoint),
      source_(source),
      diagnostics_(diagnostics),
      bytes_left_(checkpoint.source()->size()),
      expanded_left_(kMostExpanded) {}

/// True if the block is to become a file, which is counted then.
bool EmbeddedFiles::take(const Tag& tag) {
  if (taken_.contains(tag.at)) return false;
  if (taken_.size() == kMostFiles || tag.stored.size() > bytes_left_) {
    ++left_out_;
    return false;
  }
  taken_.insert(tag.at);
  bytes_left_ -= tag.stored.size();
  return true;
}

/// The block as a file without a name; expanded if that is possible.
Attachment EmbeddedFiles::content_of(const Tag& tag) {
  Attachment file{Kind::other, "", "application/octet-stream", SourceBytes{source_, tag.stored}};
  if (!tag.needs_expansion()) return file;
  try {
    auto bytes = checkpoint_.bytes(tag, expanded_left_);
    expanded_left_ -= bytes.size();
    file.content = std::move(bytes);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::io) throw;
    expanded_left_ -= std::min(expanded_left_, tag.memory_size);  // damage can show at the end
    if (++packed_ <= kMostWarnings)
      diagnostics_.warn("", std::string(error.what()) + "; it is extracted as it is stored");
  }
  return file;
}

void EmbeddedFiles::cut_behind_png(Attachment& file) const {
  const std::uint64_t size = with_content(file, *checkpoint_.source(), png_size);
  if (auto* place = std::get_if<SourceBytes>(&file.content)) {
    place->range = FileRange::sized(place->range.begin(), size);
  } else {
    std::get<std::vector<std::byte>>(file.content).resize(static_cast<std::size_t>(size));
  }
}

void EmbeddedFiles::add(const Group& group, const Tag& tag) {
  const bool memory = group.name == "memory" && tag.name == "Memory";
  if (tag.coding == Coding::value || !tag.complete() || memory || !take(tag)) return;
  Attachment file = content_of(tag);
  const bool packed = tag.needs_expansion() && std::holds_alternative<SourceBytes>(file.content);
  const bool main = group.name == kScreenGroup && tag.name == kMainPicture;
  if (!packed && with_content(file, *checkpoint_.source(), is_png)) {
    cut_behind_png(file);
    file.kind = Kind::screenshot;
    file.media_type = "image/png";
    pictures_.push_back({main, std::move(file)});
    return;
  }
  if (main && !packed && ++no_png_ == 1)
    diagnostics_.warn(checkpoint_.source()->name(), label(tag) + " of the screen is no PNG file");
  add_file(group, tag, packed, std::move(file));
}

void EmbeddedFiles::add_file(const Group& group, const Tag& tag, bool packed, Attachment file) {
  const auto known = std::find_if(kKnown.begin(), kKnown.end(), [&](const Known& k) {
    return k.group == group.name && k.tag == tag.name;
  });
  if (known != kKnown.end() && !packed) {
    file.kind = known->kind;
    file.name = known->name;
    file.media_type = known->media_type;
  } else {
    file.name = group.name + '.' + tag.name;
    for (std::size_t i = 0; i < tag.index_count; ++i)
      file.name += '.' + std::to_string(tag.indices.at(i));
    file.name += packed ? ".packed" : ".bin";
  }
  files_.push_back(std::move(file));
}

void EmbeddedFiles::finish(GuestImage& image) {
  std::stable_partition(pictures_.begin(), pictures_.end(),
                        [](const Picture& picture) { return picture.main; });
  std::size_t number = 0;
  for (Picture& picture : pictures_) {
    ++number;
    picture.file.name = "screenshot" + (number == 1 ? "" : '-' + std::to_string(number)) + ".png";
    image.attachments.push_back(std::move(picture.file));
  }
  for (Attachment& file : files_) image.attachments.push_back(std::move(file));
  if (packed_ > kMostWarnings) {
    diagnostics_.warn(checkpoint_.source()->name(),
                      counted(packed_ - kMostWarnings, "more block") + " cannot be expanded");
  }
  if (left_out_ != 0) {
    diagnostics_.warn(
        checkpoint_.source()->name(),
        counted(left_out_, "block") + " cannot be extracted: there are too many, or they overlap");
  }
}

}  // namespace vmconvert::vmware
