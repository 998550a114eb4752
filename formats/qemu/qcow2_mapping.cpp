#include "qemu/qcow2_mapping.h"

#include <algorithm>
#include <bit>
#include <span>
#include <string>

#include "qemu/qcow2_format.h"
#include "vmconvert/base/packed.h"
#include "vmconvert/base/text.h"
#include "vmconvert/io/cursor.h"

namespace vmconvert::qemu::qcow2 {
namespace {

// 64 KiB of entries map 512 MiB of 64 KiB clusters; with the smallest ones a table is 512 bytes.
constexpr std::uint64_t kLargestSlice = 64 * 1024;
constexpr std::size_t kSlices = 64;

constexpr std::uint64_t kL1Reserved = ~(entry::kCopied | entry::kOffset);
constexpr std::uint64_t kL2Reserved = ~(entry::kCopied | entry::kCompressed | entry::kOffset);
constexpr std::uint64_t kL1EntrySize = 8;
constexpr std::uint64_t kSector = 512;

[[noreturn]] void refuse(const ByteSource& image, const SnapshotEntry& snapshot,
                         const std::string& why) {
  throw Error(ErrorKind::corrupt, image.name(), snapshot.at.value,
              "snapshot " + label(snapshot.facts) + ": " + why);
}

std::uint64_t divided_up(std::uint64_t n, std::uint64_t by) {
  return n / by + (n % by != 0 ? 1 : 0);
}

/// The L1 entries that map the state: from the first that maps nothing of the disk on.
FileRange state_entries(const ByteSource& image, const Header& header,
                        const SnapshotEntry& snapshot) {
  const std::uint64_t l1_bytes = std::uint64_t{snapshot.l1_size} * kL1EntrySize;
  if (l1_bytes > kLargestL1Bytes) {
    refuse(image, snapshot,
           "l1_size " + std::to_string(snapshot.l1_size) + " is more than QEMU reads");
  }
  const auto table = FileRange::try_sized({snapshot.l1_table_offset}, l1_bytes);
  if (!table || table->end().value > image.size() ||
      snapshot.l1_table_offset % header.cluster_size() != 0) {
    refuse(image, snapshot,
           "its L1 table of " + std::to_string(snapshot.l1_size) + " entries at " +
               hex(snapshot.l1_table_offset) + " is not in the file or not at a cluster");
  }
  const std::uint64_t first = divided_up(snapshot.disk_size, header.l1_span());
  const std::uint64_t count = divided_up(snapshot.facts.state_size, header.l1_span());
  if (first > snapshot.l1_size || count > snapshot.l1_size - first) {
    refuse(image, snapshot,
           "vm_state_size " + std::to_string(snapshot.facts.state_size) +
               " is more than its L1 table of " + std::to_string(snapshot.l1_size) +
               " entries maps behind a disk of " + std::to_string(snapshot.disk_size) + " bytes");
  }
  return FileRange::sized(table->begin() + first * kL1EntrySize, count * kL1EntrySize);
}

}  // namespace

StateMapping::StateMapping(const ByteSource& image, const Header& header,
                           const SnapshotEntry& snapshot)
    : image_(image),
      header_(header),
      slice_size_(std::min(header.cluster_size(), kLargestSlice)),
      slices_(kSlices) {
  const FileRange entries = state_entries(image, header, snapshot);
  l1_at_ = entries.begin();
  Cursor cursor(image, entries, std::endian::big);
  while (!cursor.at_end()) l1_.push_back(cursor.read<std::uint64_t>("L1 entry"));
  for (std::size_t i = 0; i < l1_.size(); ++i) l1_[i] = table_of(i);

  std::vector<std::uint64_t> sorted = l1_;
  std::sort(sorted.begin(), sorted.end());
  const auto twice =
      std::adjacent_find(sorted.begin(), sorted.end(),
                         [](std::uint64_t a, std::uint64_t b) { return a != 0 && a == b; });
  if (twice != sorted.end()) {
    refuse(image, snapshot, "two L1 entries lead to the L2 table at " + hex(*twice));
  }
}

void StateMapping::fail(FileOffset at, const std::string& why) const {
  throw Error(ErrorKind::corrupt, image_.name(), at.value, why);
}

/// The place of an L2 table, proven; 0 if there is none.
std::uint64_t StateMapping::table_of(std::uint64_t l1_index) const {
  const std::uint64_t word = l1_[l1_index];
  const std::uint64_t offset = word & entry::kOffset;
  const FileOffset at = l1_at_ + l1_index * kL1EntrySize;
  if ((word & kL1Reserved) != 0) fail(at, "L1 entry " + hex(word) + " has reserved bits set");
  if (offset % header_.cluster_size() != 0) {
    fail(at, "L1 entry " + hex(word) + " is not the place of a cluster");
  }
  if (offset > image_.size() || (offset != 0 && image_.size() - offset < header_.cluster_size())) {
    fail(at, "L1 entry " + hex(word) + " leads outside the file");
  }
  return offset;
}

/// The big-endian integer at this place of the image, which lies in an L2 table.
std::uint64_t StateMapping::read_word(std::uint64_t at, Memo& memo) const {
  const std::uint64_t slice_at = at & ~(slice_size_ - 1);
  if (!memo.slice || memo.slice_at != slice_at) {
    memo.slice = slices_.get(slice_at, [&] {
      std::vector<std::byte> bytes(static_cast<std::size_t>(slice_size_));
      image_.read_at({slice_at}, bytes);
      return bytes;
    });
    memo.slice_at = slice_at;
  }
  const auto inside = static_cast<std::size_t>(at - slice_at);
  return load<std::uint64_t>(std::span(*memo.slice).subspan(inside, 8), std::endian::big);
}

Piece StateMapping::piece_at(std::uint64_t offset, Memo& memo) const {
  const std::uint64_t table = l1_.at(static_cast<std::size_t>(offset / header_.l1_span()));
  if (table == 0) return {.size = header_.l1_span() - offset % header_.l1_span()};
  const std::uint64_t inside = offset % header_.cluster_size();
  const std::uint64_t index = offset / header_.cluster_size() % header_.l2_entries();
  const FileOffset at{table + index * header_.l2_entry_size()};
  const std::uint64_t word = read_word(at.value, memo);
  const std::uint64_t bitmap = header_.extended_l2 ? read_word(at.value + 8, memo) : 0;
  if ((word & entry::kCompressed) != 0) {
    if (bitmap != 0) fail(at, "L2 entry of a compressed cluster has subclusters");
    return compressed_piece(word, at, inside);
  }
  const bool may_be_zero = header_.version >= 3 && !header_.extended_l2;
  if ((word & kL2Reserved & ~(may_be_zero ? entry::kZero : 0)) != 0) {
    fail(at, "L2 entry " + hex(word) + " has reserved bits set");
  }
  return header_.extended_l2 ? extended_piece(word, bitmap, at, inside)
                             : plain_piece(word, at, inside);
}

Piece StateMapping::plain_piece(std::uint64_t word, FileOffset at, std::uint64_t inside) const {
  const std::uint64_t host = word & entry::kOffset;
  check_cluster(host, at);
  const std::uint64_t size = header_.cluster_size() - inside;
  if (host == 0 || (word & entry::kZero) != 0) return {.size = size, .entry = at};
  return {
      .kind = Piece::Kind::stored, .size = size, .host = FileOffset{host + inside}, .entry = at};
}

Piece StateMapping::extended_piece(std::uint64_t word, std::uint64_t bitmap, FileOffset at,
                                   std::uint64_t inside) const {
  const std::uint64_t host = word & entry::kOffset;
  check_cluster(host, at);
  const auto allocated = static_cast<std::uint32_t>(bitmap);
  const auto zero = static_cast<std::uint32_t>(bitmap >> kSubclusters);
  if ((allocated & zero) != 0) fail(at, "L2 entry has a subcluster both allocated and zero");
  if (host == 0 && allocated != 0) fail(at, "L2 entry has subclusters but no cluster");
  // Subclusters that are not allocated and those that read as zeros are one thing here.
  const std::uint64_t subcluster = header_.cluster_size() / kSubclusters;
  const auto first = static_cast<unsigned>(inside / subcluster);
  const bool stored = (allocated >> first & 1) != 0;
  const std::uint32_t rest = (stored ? allocated : ~allocated) >> first;
  const unsigned alike =
      std::min(static_cast<unsigned>(std::countr_one(rest)), kSubclusters - first);
  const std::uint64_t size = (first + alike) * subcluster - inside;
  if (!stored) return {.size = size, .entry = at};
  return {
      .kind = Piece::Kind::stored, .size = size, .host = FileOffset{host + inside}, .entry = at};
}

Piece StateMapping::compressed_piece(std::uint64_t word, FileOffset at,
                                     std::uint64_t inside) const {
  // Bits 0 to x-1: offset, any byte; bits x to 61: further sectors that the data reaches into.
  const unsigned x = 62 - (header_.cluster_bits - 8);
  const std::uint64_t host = word & ((std::uint64_t{1} << x) - 1);
  const std::uint64_t sectors = (word & (entry::kCompressed - 1)) >> x;
  if ((word & entry::kCopied) != 0) fail(at, "L2 entry of a compressed cluster has bit 63 set");
  if (host >= image_.size()) fail(at, "L2 entry " + hex(word) + " leads outside the file");
  const std::uint64_t packed = (sectors + 1) * kSector - host % kSector;
  return {.kind = Piece::Kind::compressed,
          .size = header_.cluster_size() - inside,
          .host = FileOffset{host},
          .packed = std::min(packed, image_.size() - host),
          .skipped = inside,
          .entry = at};
}

/// The last cluster of the file need not be whole; whether what is wanted of it is there shows
/// when it is read.
void StateMapping::check_cluster(std::uint64_t host, FileOffset at) const {
  if (host % header_.cluster_size() != 0) {
    fail(at, "L2 entry leads to " + hex(host) + ", which is not the place of a cluster");
  }
  if (host >= image_.size()) fail(at, "L2 entry leads to " + hex(host) + ", outside the file");
}

}  // namespace vmconvert::qemu::qcow2
