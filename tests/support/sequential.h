#pragma once

#include <algorithm>
#include <memory>
#include <string>

#include "support/byte_writer.h"
#include "vmconvert/io/decoder.h"

namespace vmconvert::test {

/// Bytes that come in small steps of changing size.
class SteppingReader final : public SequentialReader {
 public:
  explicit SteppingReader(Bytes bytes, std::size_t step = 1000)
      : bytes_(std::move(bytes)), step_(step) {}

  std::size_t read_some(std::span<std::byte> out) override {
    const std::size_t n = std::min({out.size(), bytes_.size() - at_, 1 + at_ % step_});
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(at_), n, out.begin());
    at_ += n;
    return n;
  }

 private:
  Bytes bytes_;
  std::size_t step_;
  std::size_t at_ = 0;
};

/// What a decoder gave before it ended or failed.
struct Decoded {
  Bytes bytes;
  std::string error;  ///< empty: none
};

inline Decoded decode(Codec codec, Bytes packed) {
  Decoded result;
  SteppingReader reader(std::move(packed));
  const auto decoder = make_decoder(codec, reader);
  Bytes chunk(3000);
  try {
    while (const std::size_t n = decoder->read_some(chunk)) {
      result.bytes.insert(result.bytes.end(), chunk.begin(),
                          chunk.begin() + static_cast<std::ptrdiff_t>(n));
    }
  } catch (const DecodeError& error) {
    result.error = error.what();
  }
  return result;
}

/// Half of it hard to compress, half of it easy.
Bytes inline mixed_content(std::size_t size) {
  Bytes bytes(size);
  std::uint32_t state = 1;
  for (std::size_t i = 0; i < size; ++i) {
    state = state * 1664525 + 1013904223;
    bytes[i] = static_cast<std::byte>(i / 2000 % 2 == 0 ? state >> 24 : i / 500);
  }
  return bytes;
}

}  // namespace vmconvert::test
