#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "qemu/qcow2_header.h"
#include "qemu/qcow2_snapshots.h"
#include "vmconvert/base/address.h"
#include "vmconvert/io/byte_source.h"
#include "vmconvert/io/piece_cache.h"

namespace vmconvert::qemu::qcow2 {

/// Where a stretch of the machine state lies. At most a cluster; with extended L2 entries a run of
/// subclusters that are alike.
struct Piece {
  enum class Kind : std::uint8_t { stored, zero, compressed };
  Kind kind = Kind::zero;
  std::uint64_t size = 0;     ///< bytes of the state, at least 1
  FileOffset host;            ///< stored: of the first byte; compressed: of the compressed data
  std::uint64_t packed = 0;   ///< compressed: bytes at `host`, at most; cut at the end of the file
  std::uint64_t skipped = 0;  ///< compressed: bytes of the cluster before the first one
  FileOffset entry;           ///< of the L2 entry, for messages
};

/// Maps the machine state of a snapshot to the image: its L1 table and L2 tables. Safe from many
/// threads. L1 is held in memory, L2 tables pass through a cache of at most 4 MiB.
class StateMapping {
 public:
  /// Reads and proves the part of the snapshot's L1 table that maps the state.
  /// @param image  must outlive this
  /// @throws Error(corrupt)
  StateMapping(const ByteSource& image, const Header& header, const SnapshotEntry& snapshot);

  /// Holds on to the L2 table used last, so that neighbours cost nothing. One per thread and read.
  struct Memo {
    PieceCache<std::uint64_t>::Piece slice;
    std::uint64_t slice_at = 0;
  };

  /// The piece that begins at `offset` of the state, and ends where the next one begins or later
  /// than the state does.
  /// @throws Error(corrupt) if a table entry makes no sense or leads outside the file
  Piece piece_at(std::uint64_t offset, Memo& memo) const;

 private:
  std::uint64_t table_of(std::uint64_t l1_index) const;
  std::uint64_t read_word(std::uint64_t at, Memo& memo) const;
  Piece plain_piece(std::uint64_t word, FileOffset at, std::uint64_t inside) const;
  Piece extended_piece(std::uint64_t word, std::uint64_t bitmap, FileOffset at,
                       std::uint64_t inside) const;
  Piece compressed_piece(std::uint64_t word, FileOffset at, std::uint64_t inside) const;
  void check_cluster(std::uint64_t host, FileOffset at) const;
  [[noreturn]] void fail(FileOffset at, const std::string& why) const;

  const ByteSource& image_;
  const Header header_;
  FileOffset l1_at_;               ///< of the first entry held
  std::vector<std::uint64_t> l1_;  ///< offsets of L2 tables, 0: none
  std::uint64_t slice_size_;       ///< bytes of an L2 table that are read at a time
  mutable PieceCache<std::uint64_t> slices_;
};

}  // namespace vmconvert::qemu::qcow2
