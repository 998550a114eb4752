#include "vmware/compressed_memory.h"

#include <algorithm>
#include <array>

#include "vmconvert/base/text.h"
#include "vmconvert/io/cursor.h"
#include "vmconvert/io/decoder.h"
#include "vmware/fastlz.h"

namespace vmconvert::vmware {
namespace {

constexpr std::uint32_t kUsualPlain = 0x400000;
// 16 TiB of usual blocks. Larger: a hostile file costs more memory.
constexpr std::size_t kMostBlocks = std::size_t{1} << 22;
// A byte of a FastLZ stream can stand for 255, and the first bytes of a match for 264 more.
constexpr std::uint64_t kLargestRatio = 255, kSlack = 1024;

struct BlockHeader {
  std::uint32_t plain = 0, stored = 0;
};

/// Nothing if the bytes cannot be the header of a block.
std::optional<BlockHeader> parse_header(std::span<const std::byte> bytes) {
  const auto word = [&](std::size_t i) {
    return load<std::uint32_t>(bytes.subspan(4 * i), std::endian::little);
  };
  const BlockHeader header{word(0), word(2)};
  if (word(1) != 0 || word(3) != 0 || header.plain == 0 || header.plain > kUsualPlain ||
      header.stored == 0 || header.stored > header.plain ||
      header.plain > header.stored * kLargestRatio + kSlack) {
    return std::nullopt;
  }
  return header;
}

}  // namespace

bool CompressedMemory::recognise(std::span<const std::byte> head) {
  return head.size() >= kBlockHeader && parse_header(head).has_value();
}

bool CompressedMemory::recognise_usual(std::span<const std::byte> head) {
  return recognise(head) && parse_header(head)->plain == kUsualPlain;
}

std::shared_ptr<const CompressedMemory> CompressedMemory::open(
    std::shared_ptr<const ByteSource> file, FileRange range, Diagnostics* salvage) {
  std::shared_ptr<CompressedMemory> memory(new CompressedMemory(std::move(file)));
  Cursor cursor(*memory->file_, range, std::endian::little);
  std::uint32_t first_plain = 0, last_plain = 0;
  try {
    while (!cursor.at_end()) {
      std::array<std::byte, kBlockHeader> bytes{};
      const bool whole = cursor.peek_bytes(bytes);
      cursor.take(kBlockHeader, "header of a compressed block");
      const auto header = parse_header(bytes);
      if (!whole || !header) cursor.fail("header of a compressed block", "makes no sense");
      if (memory->blocks_.empty()) first_plain = header->plain;
      if (!memory->blocks_.empty() && (last_plain != first_plain || header->plain > first_plain))
        cursor.fail("header of a compressed block", "is of a block of another size");
      if (memory->blocks_.size() == kMostBlocks)
        cursor.fail("header of a compressed block", "is of one block too many");
      const FileOffset at = cursor.position();
      cursor.take(header->stored, "compressed block");
      memory->blocks_.push_back({at, header->stored});
      memory->size_ += header->plain;
      last_plain = header->plain;
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt) throw;
    // Plain memory may happen to begin like a header, but not with the usual size, a stream of
    // less, and zeros between.
    if (first_plain != kUsualPlain) return nullptr;
    if (salvage == nullptr) throw;
    salvage->loss("", std::nullopt, std::string(error.what()) + "; what follows is lost");
  }
  if (memory->blocks_.empty()) return nullptr;
  memory->block_size_ = first_plain;
  return memory;
}

std::uint64_t CompressedMemory::plain_size(std::size_t i) const {
  return std::min(block_size_, size_ - i * block_size_);
}

std::vector<std::byte> CompressedMemory::decode(std::size_t i) const {
  const Block& block = blocks_.at(i);
  std::vector<std::byte> plain(static_cast<std::size_t>(plain_size(i)));
  if (block.stored == plain.size()) {
    file_->read_at(block.at, plain);
    return plain;
  }
  std::vector<std::byte> packed(block.stored);
  file_->read_at(block.at, packed);
  try {
    decode_fastlz(packed, plain);
  } catch (const DecodeError& error) {
    throw Error(ErrorKind::corrupt, name(), block.at.value,
                "compressed block: " + std::string(error.what()));
  }
  return plain;
}

void CompressedMemory::read_at(FileOffset at, std::span<std::byte> out) const {
  const auto range = FileRange::try_sized(at, out.size());
  if (!range || range->end().value > size_)
    throw Error(ErrorKind::io, name(), std::nullopt, "read: past the last block");
  while (!out.empty()) {
    const auto i = static_cast<std::size_t>(at.value / block_size_);
    const auto skip = static_cast<std::size_t>(at.value % block_size_);
    const auto piece = cache_.get(i, [&] { return decode(i); });
    const std::size_t n = std::min(out.size(), piece->size() - skip);
    std::copy_n(piece->begin() + static_cast<std::ptrdiff_t>(skip), n, out.begin());
    out = out.subspan(n);
    at = at + n;
  }
}

std::vector<FileRange> CompressedMemory::sound_ranges(std::string& why) const {
  std::vector<FileRange> ranges;
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const auto range = FileRange::sized({i * block_size_}, plain_size(i));
    try {
      decode(i);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::corrupt) throw;
      if (why.empty()) why = error.what();
      continue;
    }
    if (!ranges.empty() && ranges.back().end() == range.begin()) {
      ranges.back() = FileRange::between(ranges.back().begin(), range.end());
    } else {
      ranges.push_back(range);
    }
  }
  return ranges;
}

}  // namespace vmconvert::vmware
