#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace vmconvert {

/// What the caller can act on.
enum class ErrorKind {
  usage,        ///< the request makes no sense; change the command line
  io,           ///< the system refused to read or write
  corrupt,      ///< the input breaks the rules of its format
  unsupported,  ///< the input is understood well enough to know that it cannot be converted
};

/// The only exception the library throws on purpose.
///
/// `what()` is one line: file, offset in hex, message; parts that are unknown are left out.
/// The message is lower case without a full stop. `file` is quoted when it holds characters
/// that a terminal would act on.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, std::string_view file, std::optional<std::uint64_t> offset,
        std::string_view message);

  ErrorKind kind() const { return kind_; }
  /// Byte offset within the file, if the problem has a place.
  std::optional<std::uint64_t> offset() const { return offset_; }

 private:
  ErrorKind kind_;
  std::optional<std::uint64_t> offset_;
};

/// An io error carrying the text of `errno_value`: "NAME: [offset 0x..: ]DOING: REASON".
Error io_error(std::string_view file, std::optional<std::uint64_t> offset, std::string_view doing,
               int errno_value);

}  // namespace vmconvert
