#include "support/encoded_ram.h"

#include <zlib.h>

#include <algorithm>
#include <stdexcept>

namespace vmconvert::test {

Bytes zlib_of(std::span<const std::byte> plain) {
  uLongf size = ::compressBound(static_cast<uLong>(plain.size()));
  Bytes packed(size);
  if (::compress(reinterpret_cast<Bytef*>(packed.data()), &size,
                 reinterpret_cast<const Bytef*>(plain.data()),
                 static_cast<uLong>(plain.size())) != Z_OK) {
    throw std::logic_error("zlib does not compress");
  }
  packed.resize(size);
  return packed;
}

Bytes compressed_record(std::uint64_t word, std::string_view block, const Bytes& packed) {
  ByteWriter out;
  out.be64(word);
  if (!block.empty()) out.counted_text(block);
  return out.be32(packed.size()).append(packed).bytes();
}

Delta& Delta::length(std::size_t count) {
  if (count < 0x80) {
    out_.u8(static_cast<unsigned>(count));
  } else {
    out_.u8(static_cast<unsigned>((count & 0x7f) | 0x80)).u8(static_cast<unsigned>(count >> 7));
  }
  return *this;
}

Bytes delta_record(std::uint64_t word, std::string_view block, const Bytes& delta) {
  ByteWriter out;
  out.be64(word);
  if (!block.empty()) out.counted_text(block);
  return out.u8(1).be16(static_cast<unsigned>(delta.size())).append(delta).bytes();
}

namespace {

Bytes bitmap_of(const MappedRamBlock& block, bool big_endian, std::uint64_t surplus) {
  std::vector<std::uint64_t> words((block.pages + 63) / 64);
  for (const MappedPage& page : block.content) {
    if (!page.stale) words[page.index / 64] |= std::uint64_t{1} << (page.index % 64);
  }
  if (!words.empty()) words.back() |= surplus;
  ByteWriter out;
  for (const std::uint64_t word : words) big_endian ? out.be64(word) : out.le64(word);
  return out.bytes();
}

}  // namespace

Bytes MappedRamFile::bytes() const {
  ByteWriter out;
  out.append(prefix).text("QEVM").be32(3);
  out.u8(7).be32(11).text("pc-q35-10.0");
  out.u8(5).counted_text("configuration/capabilities").be32(1);
  out.be32(ignore_shared ? 2 : 1).counted_text("mapped-ram");
  if (ignore_shared) out.counted_text("x-ignore-shared");
  out.u8(1).be32(2).counted_text("ram").be32(0).be32(4);
  std::uint64_t total = 0;
  for (const MappedRamBlock& block : blocks) total += block.pages * page_size;
  out.be64(total | 4);
  for (const MappedRamBlock& block : blocks) {
    out.counted_text(block.name).be64(block.pages * page_size);
    if (ignore_shared) out.be64(0);
    const Bytes bitmap = bitmap_of(block, big_endian_host, surplus);
    const std::uint64_t bitmap_at = out.size() + 28;
    const std::uint64_t pages_at =
        (bitmap_at + bitmap.size() + alignment - 1) / alignment * alignment;
    out.be32(header_version).be64(header_page_size != 0 ? header_page_size : page_size);
    out.be64(bitmap_at + shift).be64((pages_offset != 0 ? pages_offset : pages_at) + shift);
    out.append(bitmap).fill(pages_at - out.size());
    Bytes pages(block.pages * page_size);
    for (const MappedPage& page : block.content) {
      const Bytes content = page_of(page.number, page_size);
      std::copy(content.begin(), content.end(),
                pages.begin() + static_cast<std::ptrdiff_t>(page.index * page_size));
    }
    out.append(pages);
  }
  out.be64(0x10).u8(0x7e).be32(2);                          // EOS of START
  out.u8(2).be32(2).append(part.bytes()).u8(0x7e).be32(2);  // PART
  out.u8(8).be16(0x0b).be16(0);                             // switchover start
  out.u8(3).be32(2).be64(0x10).u8(0x7e).be32(2);            // END
  return out.append(devices).u8(0).bytes();
}

}  // namespace vmconvert::test
