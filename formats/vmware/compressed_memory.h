#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vmconvert/base/diagnostics.h"
#include "vmconvert/io/byte_source.h"
#include "vmconvert/io/piece_cache.h"

namespace vmconvert::vmware {

/// A memory image in the container of compressed blocks that products of 2026 write, as plain
/// bytes. Decompresses what is read; keeps the blocks that were used last.
///
/// Truth: docs/formats/vmware.md, "Compressed memory". A block after the other, little-endian:
///   0   u32 plain size, 0x400000 for all but the last
///   4   u32 0
///   8   u32 stored size
///   12  u32 0
///   16  FastLZ stream, or the plain bytes if both sizes are the same
class CompressedMemory final : public ByteSource {
 public:
  static constexpr std::size_t kBlockHeader = 16;

  /// True if the bytes can be the header of a first block.
  static bool recognise(std::span<const std::byte> head);

  /// True if that block also has the usual size: then nothing else begins so.
  static bool recognise_usual(std::span<const std::byte> head);

  /// Finds the blocks in `range` of a file.
  /// @param salvage  told of what is lost behind a damaged header; nullptr: that is an error
  /// @returns nullptr if the range does not look like a container
  /// @throws Error(corrupt) if it looks like one and its headers do not fit the range
  static std::shared_ptr<const CompressedMemory> open(std::shared_ptr<const ByteSource> file,
                                                      FileRange range, Diagnostics* salvage);

  const std::string& name() const override { return file_->name(); }
  std::uint64_t size() const override { return size_; }
  void read_at(FileOffset at, std::span<std::byte> out) const override;

  /// The ranges whose blocks can be decompressed: tries all of them.
  /// @param why  set to what the first damaged one says
  std::vector<FileRange> sound_ranges(std::string& why) const;

 private:
  struct Block {
    FileOffset at;             ///< of its bytes, behind the header
    std::uint32_t stored = 0;  ///< bytes in the file
  };
  // Larger: fewer blocks are decompressed twice when many threads read; 4 MiB each.
  static constexpr std::size_t kCached = 16;

  explicit CompressedMemory(std::shared_ptr<const ByteSource> file) : file_(std::move(file)) {}
  std::uint64_t plain_size(std::size_t i) const;
  std::vector<std::byte> decode(std::size_t i) const;

  std::shared_ptr<const ByteSource> file_;
  std::vector<Block> blocks_;
  std::uint64_t block_size_ = 0;  ///< plain bytes of all blocks but the last
  std::uint64_t size_ = 0;
  mutable PieceCache<std::size_t> cache_{kCached};
};

}  // namespace vmconvert::vmware
