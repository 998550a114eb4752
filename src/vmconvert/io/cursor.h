#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vmconvert/base/packed.h"
#include "vmconvert/io/byte_source.h"

namespace vmconvert {

/// Reads fields one after the other from a window of a source and never leaves the window.
/// The only bounds check on what comes from a file is in here. Not for use by two threads.
class Cursor {
 public:
  /// @param window  must lie within the source
  /// @throws Error(corrupt) if it does not
  Cursor(const ByteSource& source, FileRange window, std::endian order);

  FileOffset position() const { return position_; }
  FileOffset end() const { return window_.end(); }
  std::uint64_t remaining() const { return window_.end() - position_; }
  bool at_end() const { return position_ == window_.end(); }
  const ByteSource& source() const { return *source_; }

  /// The next integer. @throws Error(corrupt) if the window ends before it does
  template <std::unsigned_integral T>
  T read(std::string_view field) {
    return load<T>(fetch(sizeof(T), field), order_);
  }
  /// The next `size` bytes as text. @throws Error(corrupt) if the window ends before they do
  std::string read_text(std::uint64_t size, std::string_view field);
  /// The place of the next `size` bytes, which are stepped over unread.
  /// @throws Error(corrupt) if the window ends before they do
  FileRange take(std::uint64_t size, std::string_view field);
  /// Like read(), without moving; nothing if the window ends before the integer does.
  template <std::unsigned_integral T>
  std::optional<T> peek() {
    if (remaining() < sizeof(T)) return std::nullopt;
    return load<T>(view(sizeof(T)), order_);
  }
  /// Fills `out` with what follows, without moving; false if the window ends before it is full.
  bool peek_bytes(std::span<std::byte> out);
  /// Moves to a place in the window. @throws Error(corrupt) if it lies outside
  void seek(FileOffset to, std::string_view field);

  /// Reports the field read last. "FILE: offset 0x..: FIELD WHY".
  [[noreturn]] void fail(std::string_view field, std::string_view why,
                         ErrorKind kind = ErrorKind::corrupt) const;

 private:
  /// The next `size` bytes (at most kLargestBuffer, within the window), in the buffer.
  std::span<const std::byte> view(std::size_t size);
  std::span<const std::byte> fetch(std::size_t size, std::string_view field);
  void require(std::uint64_t size, std::string_view field);

  const ByteSource* source_;
  FileRange window_;
  std::endian order_;
  FileOffset position_;
  FileOffset last_;  ///< where the field read last began
  FileRange buffered_;
  std::vector<std::byte> buffer_;
  std::size_t next_fill_;  ///< how much the next refill reads
};

}  // namespace vmconvert
