#include "vmconvert/io/decoder.h"

#include "support/compress.h"
#include "support/sequential.h"
#include "support/test.h"

namespace vmconvert {
namespace {

using test::Bytes;
using test::compress;
using test::decode;
using test::mixed_content;

Bytes joined(const Bytes& a, const Bytes& b) {
  return test::ByteWriter().append(a).append(b).bytes();
}

TEST_CASE("codecs: each is recognised by its first bytes and by no fewer") {
  for (const Codec codec : all_codecs()) {
    CAPTURE(codec_name(codec));
    const Bytes packed = compress(codec, mixed_content(100));
    CHECK(recognise_codec(packed) == codec);
    CHECK(!recognise_codec(std::span(packed).first(2)));
  }
  CHECK(!recognise_codec({}));
  CHECK(!recognise_codec(test::as_bytes("QEVM")));
}

TEST_CASE("codecs: magic numbers are those of their specifications") {
  CHECK(recognise_codec(test::from_hex("1f 8b 08")) == Codec::gzip);
  CHECK(recognise_codec(test::from_hex("42 5a 68 39")) == Codec::bzip2);
  CHECK(recognise_codec(test::from_hex("fd 37 7a 58 5a 00")) == Codec::xz);
  CHECK(recognise_codec(test::from_hex("89 4c 5a 4f 00 0d 0a 1a 0a")) == Codec::lzop);
  CHECK(recognise_codec(test::from_hex("28 b5 2f fd")) == Codec::zstd);
  CHECK(recognise_codec(test::from_hex("04 22 4d 18")) == Codec::lz4);
}

TEST_CASE("decoders: any size comes back as it was") {
  for (const Codec codec : all_codecs()) {
    for (const unsigned size : {0U, 1U, 4095U, 4096U, 4097U, 70000U, 700000U}) {
      CAPTURE(codec_name(codec));
      CAPTURE(size);
      const Bytes plain = mixed_content(size);
      const auto decoded = decode(codec, compress(codec, plain));
      CHECK(decoded.error == "");
      CHECK(decoded.bytes == plain);
    }
  }
}

TEST_CASE("decoders: concatenated streams are one") {
  for (const Codec codec : all_codecs()) {
    CAPTURE(codec_name(codec));
    const Bytes first = mixed_content(50'000);
    const Bytes second = mixed_content(3);
    const Bytes third = mixed_content(9'000);
    const Bytes packed = joined(joined(compress(codec, first), compress(codec, second)),
                                joined(compress(codec, {}), compress(codec, third)));
    const auto decoded = decode(codec, packed);
    CHECK(decoded.error == "");
    CHECK(decoded.bytes == joined(joined(first, second), third));
  }
}

TEST_CASE("decoders: much that compresses to little comes back") {
  for (const Codec codec : all_codecs()) {
    CAPTURE(codec_name(codec));
    const Bytes plain(5'000'000);
    CHECK(decode(codec, compress(codec, plain)).bytes == plain);
  }
}

TEST_CASE("lzop: every checksum and the optional fields are understood") {
  const Bytes plain = mixed_content(100'000);
  for (const std::uint32_t sums :
       {0x0U, 0x1U, 0x2U, 0x3U, 0x100U, 0x300U, 0x303U, 0x1003U, 0x43U}) {
    CAPTURE(sums);
    const Bytes packed = test::lzop_file(plain, {.block_size = 30'000,
                                                 .flags = 0x03000000 | sums,
                                                 .name = "guest.ram",
                                                 .extra_field = Bytes(77)});
    const auto decoded = decode(Codec::lzop, packed);
    CHECK(decoded.error == "");
    CHECK(decoded.bytes == plain);
  }
}

TEST_CASE("lzop: what is impossible is refused") {
  const Bytes good = test::lzop_file(mixed_content(100));
  const auto with = [&](std::size_t at, std::string_view hex_bytes) {
    Bytes bytes = good;
    const Bytes put = test::from_hex(hex_bytes);
    std::copy(put.begin(), put.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
    return decode(Codec::lzop, bytes).error;
  };
  // 0 magic, 9 versions, 15 method, 16 level, 17 flags, 21 mode, 25 times, 33 name length,
  // 34 checksum, 38 plain size, 42 packed size, 46 adler32, 50 data
  CHECK(with(0, "00") == "lzop magic number missing");
  CHECK(with(15, "00") == "unknown lzop method");
  CHECK(with(15, "04") == "unknown lzop method");
  CHECK(with(17, "00 00 08 00") == "lzop filters are not supported");
  CHECK(with(21, "ff") == "lzop header checksum does not match");
  CHECK(with(34, "00") == "lzop header checksum does not match");
  CHECK(with(38, "04 00 00 01") == "lzop block size is impossible");
  CHECK(with(42, "00 00 00 00") == "lzop block size is impossible");
  CHECK(with(42, "00 00 00 65") == "lzop block size is impossible");
  CHECK(with(50, "ff ff") == "lzop block checksum does not match");
}

}  // namespace
}  // namespace vmconvert
