#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "vmconvert/base/diagnostics.h"
#include "vmconvert/io/byte_source.h"

namespace vmconvert {

enum class Codec { gzip, bzip2, xz, lzop, zstd, lz4 };

/// Every codec there is.
std::span<const Codec> all_codecs();

/// The codec's name as users type it.
std::string_view codec_name(Codec codec);

/// The codec whose magic number these bytes begin with.
std::optional<Codec> recognise_codec(std::span<const std::byte> head);

/// Bytes that come once, in order.
class SequentialReader {
 public:
  SequentialReader() = default;
  SequentialReader(const SequentialReader&) = delete;
  SequentialReader& operator=(const SequentialReader&) = delete;
  virtual ~SequentialReader() = default;
  /// Reads at least one byte unless the end was reached; 0 at the end. @throws Error(io)
  virtual std::size_t read_some(std::span<std::byte> out) = 0;
};

/// A part of a source, from its beginning to its end.
class RangeReader final : public SequentialReader {
 public:
  RangeReader(const ByteSource& source, FileRange range) : source_(source), left_(range) {}
  std::size_t read_some(std::span<std::byte> out) override;

 private:
  const ByteSource& source_;
  FileRange left_;
};

/// How a spool came to be, for its messages.
struct SpoolOptions {
  std::string name;      ///< of the input, as the user knows it
  bool salvage = false;  ///< keep what came before damage, and report the loss
};

/// Copies everything `reader` gives into an unlinked temporary file, decompressed if a codec is
/// given, so that readers of formats always have random access. The file lies in $TMPDIR or
/// /var/tmp, since it can be as large as the guest. Concatenated streams of a codec are one.
/// @throws Error(corrupt) on damage or a stream that ends early, Error(io) if there is no room
std::shared_ptr<const ByteSource> spool(SequentialReader& reader, std::optional<Codec> codec,
                                        const SpoolOptions& options, Diagnostics& diagnostics);

}  // namespace vmconvert
