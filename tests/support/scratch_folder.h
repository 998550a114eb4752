#pragma once

#include <string>
#include <vector>

#include "support/byte_writer.h"

namespace vmconvert::test {

/// A folder of its own that vanishes with all its content.
class ScratchFolder {
 public:
  ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  ~ScratchFolder();

  std::string path(const std::string& name) const { return path_ + "/" + name; }
  /// Names of what lies in it, sorted.
  std::vector<std::string> names() const;

 private:
  std::string path_;
};

Bytes read_file(const std::string& path);
void write_file(const std::string& path, const Bytes& bytes);

}  // namespace vmconvert::test
