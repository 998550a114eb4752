#pragma once

#include <memory>
#include <string>
#include <vector>

#include "vmconvert/io/cursor.h"

namespace vmconvert::lime_image {

/// A piece of an AVML block that is compressed on its own.
struct AvmlChunk {
  std::uint64_t plain_at = 0;         ///< in AvmlSource
  FileOffset at;                      ///< of its data, behind the checksum
  std::uint32_t size = 0;             ///< bytes of data in the file
  std::uint32_t plain_size : 31 = 0;  ///< at most 64 KiB
  std::uint32_t compressed : 1 = 0;
  std::uint32_t checksum = 0;  ///< masked CRC-32C of the plain bytes
};

/// The memory in all AVML blocks of a file, one after the other. Decompresses what is read and
/// compares its checksum; keeps nothing between calls.
class AvmlSource final : public ByteSource {
 public:
  /// @param damage_is_zero  give zeros for chunks that are damaged; for salvage, whose runs do not
  ///                        show them
  AvmlSource(std::shared_ptr<const ByteSource> file, bool damage_is_zero)
      : file_(std::move(file)), damage_is_zero_(damage_is_zero) {}

  /// Takes in the framed snappy stream at `cursor`, which has to hold `plain_size` bytes, and the
  /// length behind it. @returns where its bytes lie in this source
  /// @throws Error(corrupt) if the frames make no such stream
  std::uint64_t add_block(Cursor& cursor, std::uint64_t plain_size);

  const std::string& name() const override { return file_->name(); }
  std::uint64_t size() const override { return size_; }
  void read_at(FileOffset at, std::span<std::byte> out) const override;

  const std::vector<AvmlChunk>& chunks() const { return chunks_; }
  /// Decompresses a chunk. @throws Error(corrupt) if it is damaged
  void read_chunk(const AvmlChunk& chunk, std::span<std::byte> out) const;

 private:
  std::shared_ptr<const ByteSource> file_;
  bool damage_is_zero_;
  std::vector<AvmlChunk> chunks_;
  std::uint64_t size_ = 0;
};

}  // namespace vmconvert::lime_image
