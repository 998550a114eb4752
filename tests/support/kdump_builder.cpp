#include "support/kdump_builder.h"

#include <lzo/lzo1x.h>
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <stdexcept>

#include "support/elf_builder.h"

namespace vmconvert::test {
namespace {

constexpr std::uint64_t up(std::uint64_t n, std::uint64_t to) { return (n + to - 1) / to * to; }

/// CRC-32C of the bytes, bit by bit, masked as snappy's frames have it.
std::uint32_t frame_checksum(std::span<const std::byte> bytes) {
  std::uint32_t crc = ~0U;
  for (const std::byte b : bytes) {
    crc ^= std::to_integer<std::uint32_t>(b);
    for (int i = 0; i < 8; ++i) crc = (crc >> 1) ^ ((crc & 1U) != 0 ? 0x82f63b78U : 0U);
  }
  crc = ~crc;
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
}

}  // namespace

Bytes compress_page(unsigned flags, std::span<const std::byte> plain) {
  Bytes packed(plain.size() * 2 + 1000);
  const auto* in = reinterpret_cast<const unsigned char*>(plain.data());
  auto* out = reinterpret_cast<unsigned char*>(packed.data());
  if (flags == kStored) return {plain.begin(), plain.end()};
  if (flags == kZlib) {
    uLongf size = packed.size();
    ::compress2(out, &size, in, plain.size(), 6);
    packed.resize(size);
  } else if (flags == kLzo) {
    Bytes work(LZO1X_1_MEM_COMPRESS);
    lzo_uint size = 0;
    ::lzo1x_1_compress(in, plain.size(), out, &size, work.data());
    packed.resize(size);
  } else if (flags == kSnappy) {
    std::size_t size = packed.size();
    ::snappy_compress(reinterpret_cast<const char*>(in), plain.size(), reinterpret_cast<char*>(out),
                      &size);
    packed.resize(size);
  } else if (flags == kZstd) {
    packed.resize(::ZSTD_compress(out, packed.size(), in, plain.size(), 3));
  } else {
    packed.assign(10, std::byte{7});
  }
  return packed;
}

std::uint64_t Kdump::frames() const {
  std::uint64_t count = 0;
  if (!pages.empty()) count = pages.rbegin()->first + 1;
  if (!excluded.empty()) count = std::max(count, *excluded.rbegin() + 1);
  return max_mapnr.value_or(count);
}

std::uint64_t Kdump::bitmap_size() const { return up((frames() + 7) / 8, block_size); }

std::uint64_t Kdump::sub_header_size() const {
  return up(104 + up(notes.size(), 4) + vmcoreinfo.size(), block_size);
}

std::uint64_t Kdump::bitmap_at() const { return block_size + sub_header_size(); }

std::uint64_t Kdump::descriptors_at() const { return bitmap_at() + 2 * bitmap_size(); }

/// Notes and text follow at 104 in either class.
Bytes Kdump::sub_header() const {
  Bytes out;
  const unsigned word = is_64 ? 8 : 4;
  const auto number = [&](std::uint64_t value, unsigned size) { put(out, value, size, big); };
  const std::uint64_t notes_at = block_size + 104;
  const std::uint64_t text_at = notes_at + up(notes.size(), 4);
  number(0x123000, word);
  number(level, 4);
  number(split, 4);
  number(0, word);
  number(0, word);
  number(vmcoreinfo.empty() ? 0 : text_at, 8);
  number(vmcoreinfo.size(), word);
  number(notes.empty() ? 0 : notes_at, 8);
  number(notes.size(), word);
  number(0, 8);
  number(0, word);
  number(0, 8);
  number(0, 8);
  number(frames(), 8);
  out.resize(104);
  out.insert(out.end(), notes.begin(), notes.end());
  out.resize(text_at - block_size);
  for (const char c : vmcoreinfo) out.push_back(static_cast<std::byte>(c));
  out.resize(sub_header_size());
  return out;
}

Bytes Kdump::bytes() const {
  Bytes out = ByteWriter().text(signature).bytes();
  const auto number = [&](std::uint64_t value, unsigned size) { put(out, value, size, big); };
  number(version, 4);
  for (const std::string& field : {std::string("Linux"), std::string("host"), release,
                                   std::string("#1"), machine, std::string("(none)")}) {
    const std::size_t at = out.size();
    for (const char c : field) out.push_back(static_cast<std::byte>(c));
    out.resize(at + 65);
  }
  out.resize(is_64 ? 424 : 412);
  for (const std::uint64_t value :
       {std::uint64_t{status}, std::uint64_t{block_size}, sub_header_size() / block_size,
        2 * bitmap_size() / block_size, frames(), std::uint64_t{0}, std::uint64_t{0},
        std::uint64_t{0}, std::uint64_t{0}, std::uint64_t{2}}) {
    number(value, 4);
  }
  out.resize(block_size);
  const Bytes sub = sub_header();
  out.insert(out.end(), sub.begin(), sub.end());
  Bytes exists(bitmap_size()), stored(bitmap_size());
  for (const auto& [pfn, page] : pages) stored[pfn / 8] |= std::byte{1} << (pfn % 8);
  exists = stored;
  for (const std::uint64_t pfn : excluded) exists[pfn / 8] |= std::byte{1} << (pfn % 8);
  out.insert(out.end(), exists.begin(), exists.end());
  out.insert(out.end(), stored.begin(), stored.end());
  Bytes data(block_size);  // the zero page
  for (const auto& [pfn, page] : pages) {
    const Bytes packed = compress_page(page.flags, page.content);
    number(data_at() + (page.shares_zero ? 0 : data.size()), 8);
    number(page.shares_zero ? block_size : packed.size(), 4);
    number(page.shares_zero ? 0 : page.flags, 4);
    number(0, 8);
    if (!page.shares_zero) data.insert(data.end(), packed.begin(), packed.end());
  }
  out.insert(out.end(), data.begin(), data.end());
  return out;
}

Bytes flat_head() {
  return ByteWriter().text("makedumpfile").fill(4).be64(1).be64(1).fill(4096 - 32).bytes();
}

Bytes flat_record(std::uint64_t offset, std::span<const std::byte> bytes) {
  return ByteWriter().be64(offset).be64(bytes.size()).append(bytes).bytes();
}

Bytes flattened(const Bytes& plain, std::size_t record) {
  ByteWriter out;
  out.append(flat_head());
  for (std::size_t end = plain.size(); end != 0;) {
    const std::size_t begin = (end - 1) / record * record;
    out.append(flat_record(begin, std::span(plain).subspan(begin, end - begin)));
    end = begin;
  }
  return out.be64(~std::uint64_t{0}).be64(~std::uint64_t{0}).bytes();
}

Bytes lime_record(std::uint64_t gpa, std::span<const std::byte> plain) {
  return ByteWriter()
      .text("EMiL")
      .le32(1)
      .le64(gpa)
      .le64(gpa + plain.size() - 1)
      .le64(0)
      .append(plain)
      .bytes();
}

Bytes avml_block(std::uint64_t gpa, std::span<const std::byte> plain, bool compressed,
                 std::size_t chunk) {
  ByteWriter frames;
  frames.append(from_hex("ff 06 00 00 73 4e 61 50 70 59"));
  for (std::size_t at = 0; at < plain.size(); at += chunk) {
    const auto part = plain.subspan(at, std::min(chunk, plain.size() - at));
    const Bytes data = compress_page(compressed ? kSnappy : kStored, part);
    const std::size_t length = data.size() + 4;
    frames.u8(compressed ? 0 : 1).le16(static_cast<unsigned>(length & 0xffff));
    frames.u8(static_cast<unsigned>(length >> 16)).le32(frame_checksum(part)).append(data);
  }
  ByteWriter out;
  out.text("AVML").le32(2).le64(gpa).le64(gpa + plain.size() - 1).le64(0);
  return out.append(frames.bytes()).le64(frames.size()).bytes();
}

}  // namespace vmconvert::test
