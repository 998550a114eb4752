#pragma once

#include <memory>
#include <stdexcept>

#include "vmconvert/io/decompress.h"

namespace vmconvert {

/// The compressed data is damaged or ends early; what() says how. Caught by spool() alone, which
/// knows the file.
class DecodeError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Gives the decompressed bytes of what `from` gives; read_some() throws DecodeError on damage and
/// when the data ends before the codec's end mark. `from` must outlive the decoder.
///
/// gzip, bzip2 and xz come from Boost.Iostreams. Its zstd filter (1.74) takes a stream that ends
/// in the middle of a frame for complete, and it has none for lz4 and lzop: those three use
/// libzstd, liblz4 and liblzo2.
std::unique_ptr<SequentialReader> make_decoder(Codec codec, SequentialReader& from);

}  // namespace vmconvert
