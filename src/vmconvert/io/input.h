#pragma once

#include <memory>
#include <string>

#include "vmconvert/base/diagnostics.h"
#include "vmconvert/io/byte_source.h"
#include "vmconvert/io/decompress.h"
#include "vmconvert/io/neighbours.h"

namespace vmconvert {

/// What a conversion reads: one source with random access, whatever the file was, and the means
/// to unpack a part of it.
class Input {
 public:
  Input(std::shared_ptr<const ByteSource> source, bool salvage,
        std::shared_ptr<const Neighbours> neighbours = nullptr)
      : source_(std::move(source)), neighbours_(std::move(neighbours)), salvage_(salvage) {}

  /// Opens a regular file or block device for reading; "-" is standard input. Pipes are copied to a
  /// temporary file; gzip, bzip2, xz, zstd, lz4 and lzop are unpacked into one.
  /// @throws Error(io) if it cannot be read, is a folder or is another kind of device
  static Input open(const std::string& path, bool salvage, Diagnostics& diagnostics);

  const std::shared_ptr<const ByteSource>& source() const { return source_; }
  /// The files beside the input; nullptr for what lies in no folder.
  const Neighbours* neighbours() const { return neighbours_.get(); }

  /// The bytes that `range` of the source unpacks to. @throws as spool() does
  std::shared_ptr<const ByteSource> unpack(FileRange range, Codec codec,
                                           Diagnostics& diagnostics) const;

 private:
  std::shared_ptr<const ByteSource> source_;
  std::shared_ptr<const Neighbours> neighbours_;
  bool salvage_;
};

}  // namespace vmconvert
