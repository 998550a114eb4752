#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace vmconvert::test {

using Bytes = std::vector<std::byte>;

/// Writes integers and text one after the other, each in the byte order it says.
class ByteWriter {
 public:
  ByteWriter& u8(unsigned value) { return number(value, 1, true); }
  ByteWriter& be16(unsigned value) { return number(value, 2, true); }
  ByteWriter& be32(std::uint64_t value) { return number(value, 4, true); }
  ByteWriter& be64(std::uint64_t value) { return number(value, 8, true); }
  ByteWriter& le16(unsigned value) { return number(value, 2, false); }
  ByteWriter& le32(std::uint64_t value) { return number(value, 4, false); }
  ByteWriter& le64(std::uint64_t value) { return number(value, 8, false); }
  ByteWriter& text(std::string_view value) {
    for (const char c : value) bytes_.push_back(static_cast<std::byte>(c));
    return *this;
  }
  /// One length byte, then the text.
  ByteWriter& counted_text(std::string_view value) {
    return u8(static_cast<unsigned>(value.size())).text(value);
  }
  ByteWriter& fill(std::size_t count, unsigned value = 0) {
    bytes_.insert(bytes_.end(), count, static_cast<std::byte>(value));
    return *this;
  }
  ByteWriter& append(std::span<const std::byte> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  std::size_t size() const { return bytes_.size(); }
  const Bytes& bytes() const { return bytes_; }

 private:
  ByteWriter& number(std::uint64_t value, unsigned size, bool big) {
    for (unsigned i = 0; i < size; ++i) {
      bytes_.push_back(static_cast<std::byte>(value >> (8 * (big ? size - 1 - i : i))));
    }
    return *this;
  }

  Bytes bytes_;
};

/// "01 02 ff" as bytes, for tests that show them.
inline Bytes from_hex(std::string_view text) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; };
  Bytes bytes;
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] == ' ' || text[i] == '\n') {
      ++i;
      continue;
    }
    bytes.push_back(static_cast<std::byte>(digit(text[i]) * 16 + digit(text[i + 1])));
    i += 2;
  }
  return bytes;
}

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

}  // namespace vmconvert::test
