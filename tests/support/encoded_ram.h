#pragma once

#include <string>
#include <vector>

#include "support/qevm_builder.h"

namespace vmconvert::test {

/// A zlib stream of these bytes.
Bytes zlib_of(std::span<const std::byte> plain);

/// A compressed page; `word` is 0x100 plus its offset, or 0x120 if no block is named.
Bytes compressed_record(std::uint64_t word, std::string_view block, const Bytes& packed);

/// The body of a delta: how many bytes stay, then what the next ones become.
class Delta {
 public:
  Delta& same(std::size_t count) { return length(count); }
  Delta& changed(const Bytes& bytes) {
    length(bytes.size());
    out_.append(bytes);
    return *this;
  }
  Delta& length(std::size_t count);
  const Bytes& bytes() const { return out_.bytes(); }

 private:
  ByteWriter out_;
};

/// A delta record; `word` is 0x40 plus its offset, or 0x60 if no block is named.
Bytes delta_record(std::uint64_t word, std::string_view block, const Bytes& delta);

/// A page of a mapped-ram file.
struct MappedPage {
  std::uint64_t index = 0;   ///< in its block
  std::uint64_t number = 0;  ///< content: page_of(number)
  bool stale = false;        ///< in the file, but its bit is clear
};

struct MappedRamBlock {
  std::string name;
  std::uint64_t pages = 0;
  std::vector<MappedPage> content;
};

/// A whole file that QEMU writes under capability mapped-ram, field by field.
struct MappedRamFile {
  Bytes prefix;  ///< in front of the stream
  std::vector<MappedRamBlock> blocks;
  std::uint64_t page_size = 4096;
  std::uint64_t alignment = 0x100000;  ///< of the pages of a block
  bool big_endian_host = false;        ///< as the bitmaps are written
  bool ignore_shared = false;
  std::uint64_t shift = 0;  ///< added to all offsets
  std::uint32_t header_version = 1;
  std::uint64_t header_page_size = 0;    ///< 0: the true one
  std::uint64_t pages_offset = 0;        ///< 0: the true one
  std::uint64_t surplus = 0;             ///< further bits of the last bitmap word
  RamPayload part = RamPayload().eos();  ///< a PART's payload
  Bytes devices;                         ///< between END and the end mark

  Bytes bytes() const;
};

}  // namespace vmconvert::test
