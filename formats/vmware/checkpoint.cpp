#include "vmware/checkpoint.h"

#include <algorithm>

#include "vmconvert/base/text.h"
#include "vmconvert/io/cursor.h"
#include "vmconvert/io/decoder.h"
#include "vmconvert/io/page_codec.h"
#include "vmware/checkpoint_expansion.h"

namespace vmconvert::vmware {
namespace {

constexpr std::uint64_t kHeaderSize = 12, kRowSize = 80, kNameSize = 64;
// Real files have about a hundred. Larger: a hostile table costs more memory.
constexpr std::uint32_t kMostGroups = 4096;
// Groups and tags that are looked at to tell how wide sizes are.
constexpr std::size_t kTriedGroups = 16;
constexpr unsigned kTriedTags = 4096;

struct Magic {
  std::uint32_t value;
  unsigned word_size;
};
// 8 bytes: crash, vmware_vmss.c, and all other readers; 0xbed1bed1 and 0xbad2bad2 in one each.
// 4 bytes: three readers name three values for files of 32-bit products.
constexpr std::array kMagics{Magic{0xbed2bed2, 8}, Magic{0xbed3bed3, 8}, Magic{0xbad1bad1, 8},
                             Magic{0xbad2bad2, 8}, Magic{0xbed1bed1, 8}, Magic{0xbed2bed0, 4},
                             Magic{0xbed0bed0, 4}, Magic{0xbad0bad0, 4}};

// The first byte of a tag.
constexpr unsigned kCodeMask = 0x3f, kIndexShift = 6, kCompressed = 62, kBlock = 63;

const Magic* find_magic(std::uint32_t value) {
  const auto found = std::find_if(kMagics.begin(), kMagics.end(),
                                  [&](const Magic& m) { return m.value == value; });
  return found == kMagics.end() ? nullptr : &*found;
}

bool is_plain_name(std::string_view name) {
  return std::all_of(name.begin(), name.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

std::string up_to_nul(std::string text) {
  text.resize(std::min(text.find('\0'), text.size()));
  return text;
}

std::string take_text(Cursor& cursor, std::size_t size, std::string_view field) {
  std::string text(size, '\0');
  if (!cursor.peek_bytes(std::as_writable_bytes(std::span(text)))) cursor.take(size, field);
  cursor.take(size, field);
  return text;
}

/// The tag at the cursor; nothing for the mark that ends a list.
std::optional<Tag> read_tag(Cursor& cursor, unsigned word_size) {
  Tag tag{.at = cursor.position()};
  const auto flags = cursor.read<std::uint8_t>("tag");
  const auto length = cursor.read<std::uint8_t>("length of a tag's name");
  // A tag without a value still has a name: only both zeros are the end.
  if (flags == 0 && length == 0) return std::nullopt;
  tag.name = take_text(cursor, length, "name of a tag");
  tag.index_count = static_cast<std::uint8_t>(flags >> kIndexShift);
  for (std::size_t i = 0; i < tag.index_count; ++i)
    tag.indices.at(i) = cursor.read<std::uint32_t>("index of a tag");
  const unsigned code = flags & kCodeMask;
  if (code < kCompressed) {
    tag.stored = cursor.take(code, "value of a tag");
    tag.stored_size = tag.memory_size = code;
    return tag;
  }
  tag.coding = code == kCompressed ? Coding::compressed : Coding::block;
  const auto word = [&](std::string_view field) {
    return word_size == 4 ? cursor.read<std::uint32_t>(field) : cursor.read<std::uint64_t>(field);
  };
  tag.stored_size = word("size of a block");
  tag.memory_size = word("memory size of a block");
  cursor.take(cursor.read<std::uint16_t>("padding of a block"), "padding of a block");
  const std::uint64_t present = std::min(tag.stored_size, cursor.remaining());
  tag.stored = FileRange::sized(cursor.position(), present);
  return tag;
}

}  // namespace

std::string label(const Tag& tag) {
  std::string text = printable(tag.name);
  for (std::size_t i = 0; i < tag.index_count; ++i)
    text += '[' + std::to_string(tag.indices.at(i)) + ']';
  return text;
}

bool Checkpoint::recognise(std::span<const std::byte> head) {
  return head.size() >= kHeaderSize &&
         find_magic(load<std::uint32_t>(head, std::endian::little)) != nullptr;
}

Checkpoint::Checkpoint(std::shared_ptr<const ByteSource> source) : source_(std::move(source)) {
  read_table();
  settle_word_size();
}

void Checkpoint::read_table() {
  Cursor cursor(*source_, FileRange::sized({0}, source_->size()), std::endian::little);
  magic_ = cursor.read<std::uint32_t>("magic");
  const Magic* magic = find_magic(magic_);
  if (magic == nullptr) cursor.fail("magic", hex(magic_) + " is not that of a VMware checkpoint");
  word_size_ = magic->word_size;
  version_ = cursor.read<std::uint32_t>("version");
  const auto count = cursor.read<std::uint32_t>("number of groups");
  if (count > cursor.remaining() / kRowSize) {
    cursor.fail("number of groups", std::to_string(count) + " is more than the file can hold");
  }
  if (count > kMostGroups) {
    cursor.fail("number of groups",
                std::to_string(count) + " is more than the " + std::to_string(kMostGroups) +
                    " that are read",
                ErrorKind::unsupported);
  }
  groups_.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    Group group{.row = cursor.position()};
    group.name = up_to_nul(take_text(cursor, kNameSize, "name of a group"));
    group.begin = {cursor.read<std::uint64_t>("offset of a group")};
    group.length = cursor.read<std::uint64_t>("length of a group");
    groups_.push_back(std::move(group));
  }
  table_end_ = cursor.position();
}

/// How many of the first groups consist of tags with plain names, up to the mark that ends them.
/// Both sizes of a block that is not compressed are the same.
unsigned Checkpoint::sound_groups(unsigned word_size) const {
  unsigned sound = 0;
  for (const Group& group : std::span(groups_).first(std::min(groups_.size(), kTriedGroups))) {
    unsigned left = kTriedTags;
    bool good = true;
    try {
      walk(group, word_size, [&](const Tag& tag) {
        good = is_plain_name(tag.name) &&
               (tag.coding == Coding::compressed || tag.stored_size == tag.memory_size);
        return good && --left != 0;
      });
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::corrupt) throw;
      good = false;
    }
    sound += good ? 1 : 0;
  }
  return sound;
}

void Checkpoint::settle_word_size() {
  const unsigned other = word_size_ == 4 ? 8 : 4;
  if (sound_groups(other) <= sound_groups(word_size_)) return;
  word_size_ = other;
  word_size_differs_ = true;
}

const Group* Checkpoint::find(std::string_view name) const {
  const auto found = std::find_if(groups_.begin(), groups_.end(),
                                  [&](const Group& group) { return group.name == name; });
  return found == groups_.end() ? nullptr : &*found;
}

std::uint64_t Checkpoint::walk(const Group& group, unsigned word_size, const Visit& visit) const {
  if (group.begin.value == 0 && group.length == 0) return 0;  // nothing was saved
  if (group.begin < table_end_ || group.begin.value > source_->size()) {
    throw Error(ErrorKind::corrupt, source_->name(), group.row.value + kNameSize,
                "offset of group " + quoted(group.name) + " " + hex(group.begin.value) +
                    " lies outside the data");
  }
  Cursor cursor(*source_, FileRange::between(group.begin, {source_->size()}), std::endian::little);
  std::uint64_t stepped = 0;
  while (const auto tag = read_tag(cursor, word_size)) {
    stepped += tag->stored.begin() - tag->at;
    if (!visit(*tag)) return stepped;
    cursor.take(tag->coding == Coding::value ? 0 : tag->stored_size, "block " + label(*tag));
  }
  return stepped;
}

void Checkpoint::walk(const Group& group, const Visit& visit) const {
  walk(group, word_size_, visit);
}

void Checkpoint::walk_all(const VisitAll& visit, const Damaged& damaged) const {
  // Lists that do not overlap have no more bytes than the file; a few that do are no harm.
  std::uint64_t left = source_->size() * 4;
  bool more = true;
  for (const Group& group : groups_) {
    if (!more) return;
    std::uint64_t in_group = 0;
    try {
      walk(group, word_size_, [&](const Tag& tag) {
        in_group += tag.stored.begin() - tag.at;
        more = in_group <= left && visit(group, tag);
        return more;
      });
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::corrupt) throw;
      damaged(group, error);
    }
    if (in_group > left) {
      throw Error(ErrorKind::corrupt, source_->name(), group.row.value,
                  "group " + quoted(group.name) + " and those before it share their tags");
    }
    left -= in_group;
  }
}

std::optional<std::uint64_t> Checkpoint::number(const Tag& tag) const {
  const std::uint64_t size = tag.stored_size;
  if (tag.needs_expansion() || !tag.complete()) return std::nullopt;
  if (size != 1 && size != 2 && size != 4 && size != 8) return std::nullopt;
  std::array<std::byte, 8> bytes{};
  source_->read_at(tag.stored.begin(), std::span(bytes).first(static_cast<std::size_t>(size)));
  return load<std::uint64_t>(bytes, std::endian::little);
}

std::vector<std::byte> Checkpoint::bytes(const Tag& tag, std::uint64_t limit) const {
  const auto fail = [&](const std::string& why) {
    throw Error(ErrorKind::corrupt, source_->name(), tag.at.value, label(tag) + ' ' + why);
  };
  if (!tag.complete()) {
    fail("is cut off: " + std::to_string(tag.stored_size) + " bytes wanted, " +
         std::to_string(tag.stored.size()) + " left");
  }
  const std::uint64_t size = tag.needs_expansion() ? tag.memory_size : tag.stored_size;
  if (size > limit)
    fail("has " + std::to_string(size) + " bytes, " + std::to_string(limit) + " at most are read");
  if (tag.needs_expansion()) return expanded(*source_, tag);
  std::vector<std::byte> bytes(static_cast<std::size_t>(size));
  source_->read_at(tag.stored.begin(), bytes);
  return bytes;
}

std::string Checkpoint::text(const Tag& tag, std::uint64_t limit) const {
  const auto value = bytes(tag, limit);
  std::string text(value.size(), '\0');
  std::transform(value.begin(), value.end(), text.begin(),
                 [](std::byte b) { return static_cast<char>(b); });
  return up_to_nul(std::move(text));
}

}  // namespace vmconvert::vmware
