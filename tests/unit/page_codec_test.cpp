#include "vmconvert/io/page_codec.h"

#include "support/kdump_builder.h"
#include "support/test.h"
#include "vmconvert/io/decoder.h"

namespace vmconvert::test {
namespace {

struct Row {
  PageCodec codec;
  unsigned flags;
  const char* name;
};
constexpr Row kRows[] = {{PageCodec::zlib, kZlib, "zlib"},
                         {PageCodec::lzo, kLzo, "lzo"},
                         {PageCodec::snappy, kSnappy, "snappy"},
                         {PageCodec::zstd, kZstd, "zstd"}};

Bytes easy_bytes(std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i % 64 * (i / 1000));
  return bytes;
}

/// What decoding into `size` bytes comes to: "" if it gives `expected`.
std::string outcome(PageCodec codec, const Bytes& packed, const Bytes& expected, std::size_t size) {
  Bytes plain(size);
  try {
    decode_page(codec, packed, plain);
  } catch (const DecodeError& error) {
    return error.what();
  }
  return plain == expected ? "" : "other bytes";
}

TEST_CASE("page codec: a page comes out as it was, and into its own size only") {
  const Bytes plain = easy_bytes(4096);
  for (const Row& row : kRows) {
    CAPTURE(row.name);
    CHECK(page_codec_name(row.codec) == row.name);
    const Bytes packed = compress_page(row.flags, plain);
    const std::string damaged = std::string(row.name) + " data is damaged";
    CHECK(packed.size() < plain.size());
    CHECK(outcome(row.codec, packed, plain, 4096) == "");
    CHECK(outcome(row.codec, packed, plain, 4095) == damaged);
    CHECK(outcome(row.codec, packed, plain, 4097) == damaged);
    CHECK(outcome(row.codec, {}, plain, 4096) == damaged);
    for (std::size_t size = 0; size < packed.size(); ++size) {
      CAPTURE(size);
      const Bytes cut(packed.begin(), packed.begin() + static_cast<std::ptrdiff_t>(size));
      REQUIRE(outcome(row.codec, cut, plain, 4096) == damaged);
    }
  }
}

TEST_CASE("page codec: flipped bits never leave the page") {
  const Bytes plain = easy_bytes(4096);
  for (const Row& row : kRows) {
    const Bytes packed = compress_page(row.flags, plain);
    for (std::size_t at = 0; at < packed.size(); ++at) {
      for (const unsigned pattern : {0x01U, 0x80U, 0xffU}) {
        Bytes bad = packed;
        bad[at] ^= static_cast<std::byte>(pattern);
        outcome(row.codec, bad, plain, 4096);  // a sanitizer would tell
      }
    }
  }
}

}  // namespace
}  // namespace vmconvert::test
