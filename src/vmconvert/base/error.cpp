#include "vmconvert/base/error.h"

#include <system_error>

#include "vmconvert/base/text.h"

namespace vmconvert {
namespace {

std::string compose(std::string_view file, std::optional<std::uint64_t> offset,
                    std::string_view message) {
  std::string line;
  if (!file.empty()) line += printable(file) + ": ";
  if (offset) line += "offset " + hex(*offset) + ": ";
  line += message;
  return line;
}

}  // namespace

Error::Error(ErrorKind kind, std::string_view file, std::optional<std::uint64_t> offset,
             std::string_view message)
    : std::runtime_error(compose(file, offset, message)), kind_(kind), offset_(offset) {}

Error io_error(std::string_view file, std::optional<std::uint64_t> offset, std::string_view doing,
               int errno_value) {
  return Error(ErrorKind::io, file, offset,
               std::string(doing) + ": " + std::generic_category().message(errno_value));
}

}  // namespace vmconvert
