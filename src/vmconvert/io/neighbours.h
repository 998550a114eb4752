#pragma once

#include <memory>
#include <string>
#include <vector>

#include "vmconvert/base/diagnostics.h"
#include "vmconvert/io/byte_source.h"

namespace vmconvert {

/// The files in the folder of an input, for formats that keep a machine in several.
class Neighbours {
 public:
  Neighbours() = default;
  Neighbours(const Neighbours&) = delete;
  Neighbours& operator=(const Neighbours&) = delete;
  virtual ~Neighbours() = default;

  /// Their names without the folder, sorted; none if the folder cannot be listed.
  virtual std::vector<std::string> names() const = 0;
  /// Bytes of a file as it is, not unpacked; 0 if it is none or cannot be told.
  virtual std::uint64_t size(const std::string& name) const = 0;
  /// Opens one of them as Input::open() does. @throws as it does
  virtual std::shared_ptr<const ByteSource> open(const std::string& name, bool salvage,
                                                 Diagnostics& diagnostics) const = 0;
};

/// Of the file at `path`.
std::shared_ptr<const Neighbours> neighbours_of(const std::string& path);

}  // namespace vmconvert
