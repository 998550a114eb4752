#pragma once

#include <memory>
#include <span>
#include <string>

#include "vmconvert/io/byte_source.h"
#include "vmconvert/io/unique_fd.h"

namespace vmconvert {

/// A file that nobody else can open and that vanishes with its last descriptor. It lies in $TMPDIR
/// or /var/tmp, since it can be as large as the guest. What was not written is zero.
class TemporaryFile {
 public:
  /// @throws Error(io) if it cannot be created
  TemporaryFile();

  /// @throws Error(io), for instance if there is no room
  void write_at(FileOffset at, std::span<const std::byte> bytes);
  /// Fills `out` with bytes that were written before. @throws Error(io)
  void read_at(FileOffset at, std::span<std::byte> out) const;
  /// Gives the file up to be read, as it is now. @param name  for messages
  std::shared_ptr<const ByteSource> to_source(std::string name) &&;

 private:
  std::string folder_;
  UniqueFd fd_;
};

}  // namespace vmconvert
