#include "support/compress.h"

#include <lz4frame.h>
#include <lzo/lzo1x.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <boost/iostreams/copy.hpp>
#include <boost/iostreams/device/array.hpp>
#include <boost/iostreams/device/back_inserter.hpp>
#include <boost/iostreams/filter/bzip2.hpp>
#include <boost/iostreams/filter/gzip.hpp>
#include <boost/iostreams/filter/lzma.hpp>
#include <boost/iostreams/filtering_stream.hpp>
#include <stdexcept>
#include <string>

namespace vmconvert::test {
namespace {

namespace io = boost::iostreams;

template <class Filter>
Bytes by_boost(const Filter& filter, std::span<const std::byte> plain) {
  std::string packed;
  {
    io::filtering_ostream out;
    out.push(filter);
    out.push(io::back_inserter(packed));
    out.write(reinterpret_cast<const char*>(plain.data()),
              static_cast<std::streamsize>(plain.size()));
  }
  const auto bytes = as_bytes(packed);
  return {bytes.begin(), bytes.end()};
}

Bytes by_zstd(std::span<const std::byte> plain) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  Bytes packed(ZSTD_compressBound(plain.size()));
  const std::size_t size =
      ZSTD_compress2(context, packed.data(), packed.size(), plain.data(), plain.size());
  ZSTD_freeCCtx(context);
  if (ZSTD_isError(size) != 0) throw std::runtime_error("zstd");
  packed.resize(size);
  return packed;
}

Bytes by_lz4(std::span<const std::byte> plain) {
  LZ4F_preferences_t preferences{};
  preferences.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled;
  Bytes packed(LZ4F_compressFrameBound(plain.size(), &preferences));
  const std::size_t size =
      LZ4F_compressFrame(packed.data(), packed.size(), plain.data(), plain.size(), &preferences);
  if (LZ4F_isError(size) != 0) throw std::runtime_error("lz4");
  packed.resize(size);
  return packed;
}

const Bytef* zlib_bytes(std::span<const std::byte> bytes) {
  return reinterpret_cast<const Bytef*>(bytes.data());
}
std::uint64_t adler(std::span<const std::byte> bytes) {
  return ::adler32(1, zlib_bytes(bytes), static_cast<uInt>(bytes.size()));
}
std::uint64_t crc(std::span<const std::byte> bytes) {
  return ::crc32(0, zlib_bytes(bytes), static_cast<uInt>(bytes.size()));
}

void lzop_block(ByteWriter& out, std::span<const std::byte> plain, std::uint32_t flags) {
  Bytes work(LZO1X_1_MEM_COMPRESS);
  Bytes packed(plain.size() + plain.size() / 16 + 67);
  lzo_uint size = packed.size();
  ::lzo1x_1_compress(reinterpret_cast<const unsigned char*>(plain.data()), plain.size(),
                     reinterpret_cast<unsigned char*>(packed.data()), &size, work.data());
  const bool stored = size >= plain.size();
  packed.resize(size);
  if (stored) packed.assign(plain.begin(), plain.end());
  out.be32(plain.size()).be32(packed.size());
  if ((flags & 0x001) != 0) out.be32(adler(plain));
  if ((flags & 0x100) != 0) out.be32(crc(plain));
  if (!stored && (flags & 0x002) != 0) out.be32(adler(packed));
  if (!stored && (flags & 0x200) != 0) out.be32(crc(packed));
  out.append(packed);
}

}  // namespace

Bytes lzop_file(std::span<const std::byte> plain, const LzopOptions& options) {
  ByteWriter header;
  header.be16(0x1040).be16(0x20a0).be16(0x0940);  // lzop, library, needed to extract
  header.u8(1).u8(5).be32(options.flags);         // LZO1X-1, level 5
  header.be32(0100644).be32(0).be32(0);           // mode, mtime
  header.counted_text(options.name);
  ByteWriter out;
  out.append(from_hex("89 4c 5a 4f 00 0d 0a 1a 0a")).append(header.bytes());
  out.be32((options.flags & 0x1000) != 0 ? crc(header.bytes()) : adler(header.bytes()));
  if ((options.flags & 0x40) != 0) {
    out.be32(options.extra_field.size()).append(options.extra_field).be32(0);
  }
  while (!plain.empty()) {
    const auto block = plain.first(std::min<std::size_t>(plain.size(), options.block_size));
    lzop_block(out, block, options.flags);
    plain = plain.subspan(block.size());
  }
  return out.be32(0).bytes();
}

Bytes compress(Codec codec, std::span<const std::byte> plain) {
  switch (codec) {
    case Codec::gzip:
      return by_boost(io::gzip_compressor(), plain);
    case Codec::bzip2:
      return by_boost(io::bzip2_compressor(), plain);
    case Codec::xz:
      return by_boost(io::lzma_compressor(), plain);
    case Codec::lzop:
      return lzop_file(plain);
    case Codec::zstd:
      return by_zstd(plain);
    case Codec::lz4:
      return by_lz4(plain);
  }
  return {};
}

}  // namespace vmconvert::test
