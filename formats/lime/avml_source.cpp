#include "lime/avml_source.h"

#include <algorithm>
#include <boost/crc.hpp>

#include "vmconvert/base/text.h"
#include "vmconvert/io/decoder.h"
#include "vmconvert/io/page_codec.h"

namespace vmconvert::lime_image {
namespace {

// Truth: google/snappy 1.1.9, framing_format.txt; integers little-endian.
//   u8 type, u24 length of what follows; types 0x00 (compressed) and 0x01 (plain) begin with a
//   masked CRC-32C of the plain bytes; 0xff is the stream's beginning; 0x80 to 0xfe may be stepped
//   over.
constexpr unsigned kCompressed = 0x00, kPlain = 0x01, kFirstSkippable = 0x80, kStream = 0xff;
constexpr std::string_view kStreamName = "sNaPpY";
constexpr std::uint32_t kChecksum = 4, kLargestChunk = 65536;
constexpr std::uint32_t kMask = 0xa282ead8;
// What 64 KiB that do not compress become, at the most: snappy::MaxCompressedLength().
constexpr std::uint32_t kLargestPacked = 32 + kLargestChunk + kLargestChunk / 6;

std::uint32_t masked_crc32c(std::span<const std::byte> bytes) {
  boost::crc_optimal<32, 0x1edc6f41, 0xffffffff, 0xffffffff, true, true> crc;
  crc.process_bytes(bytes.data(), bytes.size());
  const auto sum = static_cast<std::uint32_t>(crc.checksum());
  return ((sum >> 15) | (sum << 17)) + kMask;
}

/// The plain size that a snappy block begins with: seven bits a byte, lowest first.
std::uint32_t read_plain_size(Cursor cursor) {
  std::uint64_t size = 0;
  for (unsigned shift = 0; shift < 35; shift += 7) {
    const auto byte = cursor.read<std::uint8_t>("snappy length");
    size |= std::uint64_t{byte & 0x7fU} << shift;
    if ((byte & 0x80U) == 0) {
      if (size == 0 || size > kLargestChunk) break;
      return static_cast<std::uint32_t>(size);
    }
  }
  cursor.fail("snappy length", "is none that a chunk can have");
}

}  // namespace

std::uint64_t AvmlSource::add_block(Cursor& cursor, std::uint64_t plain_size) {
  const FileOffset begin = cursor.position();
  const std::uint64_t block_at = size_;
  while (size_ - block_at < plain_size) {
    const bool first = cursor.position() == begin;
    const auto type = cursor.read<std::uint8_t>("chunk type");
    if (first && type != kStream) cursor.fail("chunk type", "is not that of a stream's beginning");
    if (type > kPlain && type < kFirstSkippable)
      cursor.fail("chunk type", hex(type) + " is not known");
    std::uint32_t length = cursor.read<std::uint8_t>("chunk length");
    length |= std::uint32_t{cursor.read<std::uint16_t>("chunk length")} << 8;
    if (type == kStream) {
      if (length != kStreamName.size() || cursor.read_text(length, "stream name") != kStreamName)
        cursor.fail("stream name", "is not that of snappy");
      continue;
    }
    if (type >= kFirstSkippable) {
      cursor.take(length, "chunk");
      continue;
    }
    if (length <= kChecksum || length - kChecksum > kLargestPacked)
      cursor.fail("chunk length", "is " + std::to_string(length));
    AvmlChunk chunk{.plain_at = size_};
    chunk.checksum = cursor.read<std::uint32_t>("chunk checksum");
    chunk.at = cursor.position();
    chunk.size = length - kChecksum;
    chunk.compressed = type == kCompressed ? 1 : 0;
    const std::uint32_t plain = type == kCompressed ? read_plain_size(cursor) : chunk.size;
    cursor.take(chunk.size, "chunk");
    if (plain > kLargestChunk || plain > plain_size - (size_ - block_at))
      cursor.fail("chunk", "holds more than its block");
    chunk.plain_size = plain & 0x7fffffffU;
    chunks_.push_back(chunk);
    size_ += plain;
  }
  const std::uint64_t used = cursor.position() - begin;
  const auto length = cursor.read<std::uint64_t>("block length");
  if (length != used)
    cursor.fail("block length", "is " + hex(length) + ", the block before it has " + hex(used));
  return block_at;
}

void AvmlSource::read_chunk(const AvmlChunk& chunk, std::span<std::byte> out) const {
  const auto fail = [&](const std::string& why) {
    throw Error(ErrorKind::corrupt, name(), chunk.at.value, "chunk: " + why);
  };
  if (chunk.compressed == 0) {
    file_->read_at(chunk.at, out);
  } else {
    std::vector<std::byte> packed(chunk.size);
    file_->read_at(chunk.at, packed);
    try {
      decode_page(PageCodec::snappy, packed, out);
    } catch (const DecodeError& error) {
      fail(error.what());
    }
  }
  if (masked_crc32c(out) != chunk.checksum) fail("the checksum does not match");
}

void AvmlSource::read_at(FileOffset at, std::span<std::byte> out) const {
  if (out.empty()) return;
  const auto range = FileRange::try_sized(at, out.size());
  if (!range || range->end().value > size_)
    throw Error(ErrorKind::io, name(), std::nullopt, "read: past the last block");
  auto chunk = std::partition_point(chunks_.begin(), chunks_.end(), [&](const AvmlChunk& c) {
    return c.plain_at + c.plain_size <= at.value;
  });
  std::vector<std::byte> plain;
  for (; chunk != chunks_.end() && chunk->plain_at < range->end().value; ++chunk) {
    const auto whole = FileRange::sized({chunk->plain_at}, chunk->plain_size);
    const FileRange wanted = whole.intersection(*range);
    const auto target = out.subspan(static_cast<std::size_t>(wanted.begin() - at),
                                    static_cast<std::size_t>(wanted.size()));
    plain.resize(chunk->plain_size);
    const auto into = wanted == whole ? target : std::span(plain);
    try {
      read_chunk(*chunk, into);
    } catch (const Error& error) {
      if (!damage_is_zero_ || error.kind() != ErrorKind::corrupt) throw;
      std::fill(into.begin(), into.end(), std::byte{0});
    }
    if (wanted == whole) continue;
    const auto skip = static_cast<std::ptrdiff_t>(wanted.begin() - whole.begin());
    std::copy_n(plain.begin() + skip, target.size(), target.begin());
  }
}

}  // namespace vmconvert::lime_image
