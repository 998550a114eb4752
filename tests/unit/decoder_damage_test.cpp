#include <algorithm>
#include <array>

#include "support/collecting_diagnostics.h"
#include "support/compress.h"
#include "support/sequential.h"
#include "support/test.h"

namespace vmconvert {
namespace {

using test::Bytes;
using test::CollectingDiagnostics;
using test::compress;
using test::decode;
using test::Decoded;
using test::mixed_content;

// What gzip, bzip2 and xz decoded right before damage is lost up to this size.
constexpr std::size_t kLossAtDamage = 4096;

bool is_prefix(const Bytes& part, const Bytes& whole) {
  return part.size() <= whole.size() && std::equal(part.begin(), part.end(), whole.begin());
}

TEST_CASE("decoders: a stream that ends early is an error wherever it ends") {
  const Bytes plain = mixed_content(2'500);
  for (const Codec codec : all_codecs()) {
    CAPTURE(codec_name(codec));
    const Bytes packed = compress(codec, plain);
    for (std::size_t size = 1; size < packed.size(); ++size) {
      CAPTURE(size);
      const Decoded decoded =
          decode(codec, {packed.begin(), packed.begin() + static_cast<std::ptrdiff_t>(size)});
      REQUIRE(decoded.error != "");
      REQUIRE(is_prefix(decoded.bytes, plain));
    }
  }
}

TEST_CASE("decoders: a second stream that ends early is an error") {
  const Bytes plain = mixed_content(6'000);
  for (const Codec codec : all_codecs()) {
    CAPTURE(codec_name(codec));
    const Bytes packed = compress(codec, plain);
    for (const std::size_t size :
         {std::size_t{1}, std::size_t{5}, packed.size() / 2, packed.size() - 1}) {
      CAPTURE(size);
      Bytes two = packed;
      two.insert(two.end(), packed.begin(), packed.begin() + static_cast<std::ptrdiff_t>(size));
      const Decoded decoded = decode(codec, two);
      CHECK(decoded.error != "");
      CHECK(decoded.bytes.size() + kLossAtDamage >= plain.size());
    }
  }
}

TEST_CASE("decoders: damage never passes for content") {
  const Bytes plain = mixed_content(2'100);
  for (const Codec codec : all_codecs()) {
    CAPTURE(codec_name(codec));
    const Bytes packed = compress(codec, plain);
    for (std::size_t at = 0; at < packed.size(); ++at) {
      CAPTURE(at);
      constexpr std::array<unsigned, 3> kPatterns{0x01, 0x80, 0xff};
      Bytes damaged = packed;
      damaged[at] ^= static_cast<std::byte>(kPatterns[at % kPatterns.size()]);
      const Decoded decoded = decode(codec, damaged);
      // Some header fields, such as a time, mean nothing for the content.
      if (decoded.error.empty()) REQUIRE(decoded.bytes == plain);
    }
  }
}

TEST_CASE("decoders: what follows the stream and is none is not silently taken") {
  const Bytes plain = mixed_content(20'000);
  for (const Codec codec : all_codecs()) {
    CAPTURE(codec_name(codec));
    Bytes packed = compress(codec, plain);
    const Bytes garbage = mixed_content(100);
    packed.insert(packed.end(), garbage.begin(), garbage.end());
    const Decoded decoded = decode(codec, packed);
    CHECK(decoded.error != "");
    CHECK(is_prefix(decoded.bytes, plain));
    CHECK(decoded.bytes.size() + kLossAtDamage >= plain.size());
  }
}

Bytes spooled(const Bytes& packed, Codec codec, bool salvage, CollectingDiagnostics& diagnostics) {
  test::SteppingReader reader(packed);
  const auto source = spool(reader, codec, {.name = "guest.gz", .salvage = salvage}, diagnostics);
  CHECK(source->name() == "guest.gz");
  Bytes bytes(source->size());
  source->read_at({0}, bytes);
  return bytes;
}

TEST_CASE("spool: content comes back with random access") {
  CollectingDiagnostics diagnostics;
  const Bytes plain = mixed_content(3'000'000);
  CHECK(spooled(compress(Codec::zstd, plain), Codec::zstd, false, diagnostics) == plain);
  CHECK(!diagnostics.lost());
}

TEST_CASE("spool: damage is refused with a hint and salvage keeps what comes before") {
  const Bytes plain = mixed_content(300'000);
  for (const Codec codec : all_codecs()) {
    CAPTURE(codec_name(codec));
    Bytes packed = codec == Codec::lzop ? test::lzop_file(plain, {.block_size = 20'000})
                                        : compress(codec, plain);
    packed.resize(packed.size() * 3 / 4);
    const std::string name(codec_name(codec));
    CollectingDiagnostics diagnostics;
    CHECK(test::error_of([&] { spooled(packed, codec, false, diagnostics); }) ==
          "guest.gz: " + name +
              " data: the stream ends early (--salvage converts what comes before)");
    CHECK(!diagnostics.lost());
    const Bytes kept = spooled(packed, codec, true, diagnostics);
    CHECK(is_prefix(kept, plain));
    CHECK(diagnostics.of(Diagnostics::Level::loss) ==
          std::vector{"guest.gz: " + name + " data: the stream ends early"});
    // bzip2 works in blocks of 900 kB; the others decode as they go.
    if (codec != Codec::bzip2) CHECK(kept.size() > plain.size() / 3);
  }
}

}  // namespace
}  // namespace vmconvert
