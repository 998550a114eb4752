#include "qemu/qcow2_state.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "qemu/qcow2_mapping.h"
#include "qemu/qcow2_unpack.h"
#include "vmconvert/base/text.h"
#include "vmconvert/io/piece_cache.h"

namespace vmconvert::qemu::qcow2 {
namespace {

// Memory for unpacked clusters. Page headers of a stream are read one by one, so the cluster they
// lie in should not be unpacked anew for each.
constexpr std::uint64_t kUnpackedBytes = std::uint64_t{16} << 20;
constexpr std::uint64_t kMostUnpacked = 64;

// A state can be larger than its image only by what is zero or compressed. deflate makes 1 byte of
// at most 1032; QEMU writes neither kind. Without a limit some bytes of tables could name 2^61.
constexpr std::uint64_t kLargestRatio = 1032;
constexpr std::uint64_t kSlack = std::uint64_t{16} << 20;

class StateSource final : public ByteSource {
 public:
  StateSource(std::shared_ptr<const ByteSource> image, const Header& header,
              const SnapshotEntry& snapshot)
      : image_(std::move(image)),
        name_(image_->name() + ", state of snapshot " + snapshot.facts.id),
        cluster_size_(header.cluster_size()),
        compression_(header.compression),
        size_(snapshot.facts.state_size),
        mapping_(*image_, header, snapshot),
        unpacked_(
            static_cast<std::size_t>(std::min(kUnpackedBytes / cluster_size_, kMostUnpacked))) {}

  const std::string& name() const override { return name_; }
  std::uint64_t size() const override { return size_; }

  void read_at(FileOffset at, std::span<std::byte> out) const override {
    const auto range = FileRange::try_sized(at, out.size());
    if (!range || range->end().value > size_) {
      throw Error(ErrorKind::io, name_, at.value, "read: the state ends before that");
    }
    StateMapping::Memo memo;
    // Stored pieces that follow each other in the image as they do in the state: one read.
    FileOffset pending_at;
    std::span<std::byte> pending;
    const auto flush = [&] {
      if (!pending.empty()) image_->read_at(pending_at, pending);
    };
    for (std::uint64_t offset = at.value; !out.empty();) {
      const Piece piece = mapping_.piece_at(offset, memo);
      const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(piece.size, out.size()));
      if (piece.kind == Piece::Kind::stored) {
        const bool continues = !pending.empty() && pending.data() + pending.size() == out.data() &&
                               pending_at + pending.size() == piece.host;
        if (!continues) {
          flush();
          pending_at = piece.host;
          pending = out.first(size);
        } else {
          pending = std::span(pending.data(), pending.size() + size);
        }
      } else if (piece.kind == Piece::Kind::compressed) {
        copy_unpacked(piece, out.first(size));
      } else {
        std::memset(out.data(), 0, size);
      }
      out = out.subspan(size);
      offset += size;
    }
    flush();
  }

  void shorten(std::uint64_t size) { size_ = size; }
  /// @throws Error(corrupt) if a compressed piece does not unpack
  void prove(const Piece& piece) const { copy_unpacked(piece, {}); }
  const StateMapping& mapping() const { return mapping_; }

 private:
  void copy_unpacked(const Piece& piece, std::span<std::byte> out) const {
    const auto cluster =
        unpacked_.get({piece.host.value, piece.packed}, [&] { return unpack(piece); });
    std::copy_n(cluster->begin() + static_cast<std::ptrdiff_t>(piece.skipped), out.size(),
                out.begin());
  }

  std::vector<std::byte> unpack(const Piece& piece) const {
    std::vector<std::byte> packed(static_cast<std::size_t>(piece.packed));
    image_->read_at(piece.host, packed);
    std::vector<std::byte> cluster(static_cast<std::size_t>(cluster_size_));
    const std::string wrong = unpack_cluster(compression_, packed, cluster);
    if (!wrong.empty()) {
      throw Error(ErrorKind::corrupt, image_->name(), piece.host.value,
                  "compressed cluster " + wrong);
    }
    return cluster;
  }

  std::shared_ptr<const ByteSource> image_;
  const std::string name_;
  const std::uint64_t cluster_size_;
  const Compression compression_;
  std::uint64_t size_;
  StateMapping mapping_;
  mutable PieceCache<std::pair<std::uint64_t, std::uint64_t>> unpacked_;
};

/// The places of the image that hold the state, to find one that is used twice: a sign of an image
/// that two programs wrote to at once.
class UsedPlaces {
 public:
  /// @returns false if a byte of it is used already; that may show at a later place
  bool add(FileRange range) {
    if (!ranges_.empty() && ranges_.back().end() == range.begin()) {
      ranges_.back() = FileRange::between(ranges_.back().begin(), range.end());
      return true;
    }
    if (ranges_.size() >= limit_ && !compact()) return false;
    ranges_.push_back(range);
    return true;
  }

  /// Merges neighbours. @returns false if a byte is used twice
  bool compact() {
    std::sort(ranges_.begin(), ranges_.end(),
              [](const FileRange& a, const FileRange& b) { return a.begin() < b.begin(); });
    std::vector<FileRange> merged;
    for (const FileRange& range : ranges_) {
      if (!merged.empty() && merged.back().end() > range.begin()) return false;
      if (!merged.empty() && merged.back().end() == range.begin()) {
        merged.back() = FileRange::between(merged.back().begin(), range.end());
      } else {
        merged.push_back(range);
      }
    }
    ranges_ = std::move(merged);
    limit_ = std::max(limit_, ranges_.size() * 2);
    return true;
  }

 private:
  // Each range was named by an entry of an L2 table in the file, so memory is at most twice that.
  std::vector<FileRange> ranges_;
  std::size_t limit_ = std::size_t{1} << 16;
};

/// Looks at every piece once. @returns where the state ceases to be readable: its size, if nothing
/// is wrong
std::uint64_t readable_size(const StateSource& state, const ByteSource& image, bool salvage,
                            Diagnostics& diagnostics) {
  UsedPlaces used;
  bool twice = false;
  std::uint64_t offset = 0;
  try {
    StateMapping::Memo memo;
    while (offset < state.size()) {
      const Piece piece = state.mapping().piece_at(offset, memo);
      const std::uint64_t size = std::min(piece.size, state.size() - offset);
      if (piece.kind == Piece::Kind::stored) {
        if (size > image.size() - piece.host.value) {
          throw Error(ErrorKind::corrupt, image.name(), piece.host.value,
                      "the file ends within this cluster of the machine state");
        }
        twice = twice || !used.add(FileRange::sized(piece.host, size));
      } else if (piece.kind == Piece::Kind::compressed) {
        state.prove(piece);
      }
      offset += size;
    }
  } catch (const Error& error) {
    if (!salvage || error.kind() != ErrorKind::corrupt) throw;
    diagnostics.loss("", std::nullopt,
                     std::string(error.what()) + "; what follows " + human_size(offset) +
                         " of machine state is lost");
  }
  if (twice || !used.compact()) {
    const std::string text =
        "two parts of the machine state lie in the same cluster: one of them was overwritten";
    if (!salvage) throw Error(ErrorKind::corrupt, image.name(), std::nullopt, text);
    diagnostics.loss(image.name(), std::nullopt, text);
  }
  return offset;
}

}  // namespace

std::shared_ptr<const ByteSource> open_state(std::shared_ptr<const ByteSource> image,
                                             const Header& header, const SnapshotEntry& snapshot,
                                             bool salvage, Diagnostics& diagnostics) {
  const std::uint64_t size = snapshot.facts.state_size;
  if (size > kSlack && (size - kSlack) / kLargestRatio > image->size()) {
    throw Error(ErrorKind::corrupt, image->name(), snapshot.at.value,
                "snapshot " + label(snapshot.facts) + ": vm_state_size " + std::to_string(size) +
                    " is more than a file of " + human_size(image->size()) + " can hold");
  }
  const auto state = std::make_shared<StateSource>(image, header, snapshot);
  state->shorten(readable_size(*state, *image, salvage, diagnostics));
  return state;
}

}  // namespace vmconvert::qemu::qcow2
