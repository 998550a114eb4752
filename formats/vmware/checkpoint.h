#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vmconvert/io/byte_source.h"

namespace vmconvert::vmware {

// VMware checkpoint (.vmss, .vmsn). Little-endian, no alignment.
// Truth: no public specification; docs/formats/vmware.md has the layout, what was seen and where.
//
//   0        magic, version, number of groups    12 bytes
//   12       rows of groups                      80 bytes each
//   anywhere tags of a group, up to two zero bytes; one list per group

/// A group of tags, as its row of the table has it.
struct Group {
  std::string name;          ///< as found, up to 64 bytes: not escaped
  FileOffset row;            ///< where its row lies
  FileOffset begin;          ///< of its first tag; need not lie in the file
  std::uint64_t length = 0;  ///< bytes of its tags and blocks, as the row claims; only a hint
};

/// How a tag holds its value.
enum class Coding {
  value,       ///< up to 61 bytes behind the name
  block,       ///< any number of bytes, with a length of its own
  compressed,  ///< the same, to be expanded
};

/// A tag. What it says of sizes has been checked against the file; nothing else has.
struct Tag {
  std::string name;  ///< as found, up to 255 bytes: not escaped
  std::uint8_t index_count = 0;
  std::array<std::uint32_t, 3> indices{};  ///< the first index_count are the tag's
  Coding coding = Coding::value;
  FileOffset at;                  ///< of the tag itself
  FileRange stored;               ///< the value's bytes in the file, behind any padding
  std::uint64_t stored_size = 0;  ///< what the tag says their number is
  std::uint64_t memory_size = 0;  ///< bytes after expansion, as the tag claims
  friend bool operator==(const Tag&, const Tag&) = default;

  /// False if the file ends inside the block; then it is the last tag that its group can give.
  bool complete() const { return stored.size() == stored_size; }
  /// True if the bytes are not the value itself. A block marked as compressed whose two sizes are
  /// the same is taken to be stored as it is.
  bool needs_expansion() const {
    return coding == Coding::compressed && stored_size != memory_size;
  }
};

/// "regionPPN[0]": for people. The name is quoted and escaped if it is not harmless.
std::string label(const Tag& tag);

/// The groups and tags of a checkpoint. Holds the table alone: tags are read when they are walked.
class Checkpoint {
 public:
  /// Told of a tag. Returns false to end the walk.
  using Visit = std::function<bool(const Tag&)>;
  using VisitAll = std::function<bool(const Group&, const Tag&)>;
  /// Told why the rest of a group cannot be read.
  using Damaged = std::function<void(const Group&, const Error&)>;

  /// True if a file that begins so is a checkpoint.
  static bool recognise(std::span<const std::byte> head);

  /// Reads the table, and finds out how wide the sizes of blocks are.
  /// @throws Error(corrupt, unsupported) if it is no checkpoint, or the table cannot be true
  explicit Checkpoint(std::shared_ptr<const ByteSource> source);

  const std::shared_ptr<const ByteSource>& source() const { return source_; }
  std::uint32_t magic() const { return magic_; }
  std::uint32_t version() const { return version_; }
  /// Bytes of the two sizes of a block: 4 or 8.
  unsigned word_size() const { return word_size_; }
  /// True if tags made sense only with another word size than the magic stands for.
  bool word_size_differs() const { return word_size_differs_; }

  std::span<const Group> groups() const { return groups_; }
  /// The first group of this name; nullptr if there is none.
  const Group* find(std::string_view name) const;

  /// Walks the tags of a group in the order of the file.
  /// @throws Error(corrupt) where the list cannot go on; what came before was visited, and so was a
  ///         block that the end of the file cuts off
  void walk(const Group& group, const Visit& visit) const;
  /// Walks all groups in the order of the table, lists that several share more than once. Damage
  /// ends its group only.
  /// @throws Error(corrupt) if lists overlap so much that the work would not be in proportion to
  ///         the size of the file
  void walk_all(const VisitAll& visit, const Damaged& damaged) const;

  /// The number that a tag holds, of whatever width; nothing if it is not one of 1, 2, 4 or 8
  /// bytes.
  std::optional<std::uint64_t> number(const Tag& tag) const;
  /// The value, expanded if need be.
  /// @param limit  refuse a value of more bytes
  /// @throws Error(corrupt) if it is incomplete, too large or damaged, Error(unsupported) if it is
  ///         compressed in an unknown way
  std::vector<std::byte> bytes(const Tag& tag, std::uint64_t limit) const;
  /// The value up to the first NUL, as text: not escaped. @throws as bytes() does
  std::string text(const Tag& tag, std::uint64_t limit) const;

 private:
  void read_table();
  void settle_word_size();
  unsigned sound_groups(unsigned word_size) const;
  /// @returns bytes of tags without blocks that were stepped over
  std::uint64_t walk(const Group& group, unsigned word_size, const Visit& visit) const;

  std::shared_ptr<const ByteSource> source_;
  std::uint32_t magic_ = 0, version_ = 0;
  unsigned word_size_ = 8;
  bool word_size_differs_ = false;
  FileOffset table_end_;
  std::vector<Group> groups_;
};

}  // namespace vmconvert::vmware
