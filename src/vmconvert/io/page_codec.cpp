#include "vmconvert/io/page_codec.h"

#include <lzo/lzo1x.h>
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>

#include <string>

#include "vmconvert/io/decoder.h"

namespace vmconvert {
namespace {

/// Bytes that came out; another number than was wanted if `packed` is damaged.
std::size_t decode(PageCodec codec, std::span<const std::byte> packed, std::span<std::byte> plain) {
  const auto* in = reinterpret_cast<const unsigned char*>(packed.data());
  auto* out = reinterpret_cast<unsigned char*>(plain.data());
  constexpr std::size_t kDamaged = ~std::size_t{0};
  switch (codec) {
    case PageCodec::zlib: {
      uLongf size = plain.size();
      uLong used = packed.size();
      const bool good = ::uncompress2(out, &size, in, &used) == Z_OK && used == packed.size();
      return good ? size : kDamaged;
    }
    case PageCodec::lzo: {
      lzo_uint size = plain.size();
      return ::lzo1x_decompress_safe(in, packed.size(), out, &size, nullptr) == LZO_E_OK ? size
                                                                                         : kDamaged;
    }
    case PageCodec::snappy: {
      const auto* chars = reinterpret_cast<const char*>(in);
      std::size_t size = 0;
      if (::snappy_uncompressed_length(chars, packed.size(), &size) != SNAPPY_OK ||
          size != plain.size()) {
        return kDamaged;
      }
      return ::snappy_uncompress(chars, packed.size(), reinterpret_cast<char*>(out), &size) ==
                     SNAPPY_OK
                 ? size
                 : kDamaged;
    }
    case PageCodec::zstd: {
      const std::size_t size = ::ZSTD_decompress(out, plain.size(), in, packed.size());
      return ::ZSTD_isError(size) != 0 ? kDamaged : size;
    }
  }
  return kDamaged;
}

}  // namespace

std::string_view page_codec_name(PageCodec codec) {
  switch (codec) {
    case PageCodec::zlib:
      return "zlib";
    case PageCodec::lzo:
      return "lzo";
    case PageCodec::snappy:
      return "snappy";
    case PageCodec::zstd:
      return "zstd";
  }
  return "";
}

void decode_page(PageCodec codec, std::span<const std::byte> packed, std::span<std::byte> plain) {
  if (decode(codec, packed, plain) != plain.size()) {
    throw DecodeError(std::string(page_codec_name(codec)) + " data is damaged");
  }
}

}  // namespace vmconvert
