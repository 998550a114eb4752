#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace vmconvert {

/// How a dump compresses a page, or another small piece, on its own.
enum class PageCodec {
  zlib,    ///< one zlib stream
  lzo,     ///< LZO1X, without a frame
  snappy,  ///< snappy's block format, without frames
  zstd,    ///< one zstd frame
};

/// The codec's name as users know it.
std::string_view page_codec_name(PageCodec codec);

/// Decompresses `packed` into the whole of `plain`. Safe from many threads.
/// @throws DecodeError if it is damaged or gives more or fewer bytes
void decode_page(PageCodec codec, std::span<const std::byte> packed, std::span<std::byte> plain);

}  // namespace vmconvert
