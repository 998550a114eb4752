#include "vmconvert/io/decompress.h"

#include <algorithm>
#include <array>
#include <vector>

#include "vmconvert/io/decoder.h"
#include "vmconvert/io/temporary_file.h"

namespace vmconvert {
namespace {

constexpr std::size_t kSpoolBuffer = 1024 * 1024;

struct CodecFacts {
  Codec codec;
  std::string_view name;
  std::string_view magic;
};

using namespace std::string_view_literals;

// Magic numbers: RFC 1952, bzip2 manual 1.0, xz file format 1.0.4, lzop 1.04 source, RFC 8878,
// LZ4 frame format 1.6.2.
constexpr std::array kCodecs{
    CodecFacts{Codec::gzip, "gzip", "\x1f\x8b\x08"sv},
    CodecFacts{Codec::bzip2, "bzip2", "BZh"sv},
    CodecFacts{Codec::xz, "xz", "\xfd\x37zXZ\0"sv},
    CodecFacts{Codec::lzop, "lzop", "\x89LZO\0\r\n\x1a\n"sv},
    CodecFacts{Codec::zstd, "zstd", "\x28\xb5\x2f\xfd"sv},
    CodecFacts{Codec::lz4, "lz4", "\x04\x22\x4d\x18"sv},
};

}  // namespace

std::span<const Codec> all_codecs() {
  static constexpr std::array all{Codec::gzip, Codec::bzip2, Codec::xz,
                                  Codec::lzop, Codec::zstd,  Codec::lz4};
  return all;
}

std::string_view codec_name(Codec codec) {
  return std::find_if(kCodecs.begin(), kCodecs.end(),
                      [&](const CodecFacts& f) { return f.codec == codec; })
      ->name;
}

std::optional<Codec> recognise_codec(std::span<const std::byte> head) {
  const std::string_view text(reinterpret_cast<const char*>(head.data()), head.size());
  for (const CodecFacts& facts : kCodecs) {
    if (text.starts_with(facts.magic)) return facts.codec;
  }
  return std::nullopt;
}

std::size_t RangeReader::read_some(std::span<std::byte> out) {
  const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), left_.size()));
  source_.read_at(left_.begin(), out.first(size));
  left_ = FileRange::between(left_.begin() + size, left_.end());
  return size;
}

std::shared_ptr<const ByteSource> spool(SequentialReader& reader, std::optional<Codec> codec,
                                        const SpoolOptions& options, Diagnostics& diagnostics) {
  TemporaryFile file;
  FileOffset end;
  const auto decoder = codec ? make_decoder(*codec, reader) : nullptr;
  SequentialReader& from = decoder ? *decoder : reader;
  std::vector<std::byte> buffer(kSpoolBuffer);
  try {
    while (const std::size_t n = from.read_some(buffer)) {
      file.write_at(end, std::span(buffer).first(n));
      end = end + n;
    }
  } catch (const DecodeError& damage) {
    const std::string text = std::string(codec_name(*codec)) + " data: " + damage.what();
    if (!options.salvage) {
      throw Error(ErrorKind::corrupt, options.name, std::nullopt,
                  text + " (--salvage converts what comes before)");
    }
    diagnostics.loss(options.name, std::nullopt, text);
  }
  return std::move(file).to_source(options.name);
}

}  // namespace vmconvert
