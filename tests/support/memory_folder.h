#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "support/reading.h"
#include "vmconvert/io/neighbours.h"

namespace vmconvert::test {

/// A folder in memory.
class MemoryFolder final : public Neighbours {
 public:
  explicit MemoryFolder(std::map<std::string, Bytes> files) : files_(std::move(files)) {}

  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const auto& file : files_) names.push_back(file.first);
    return names;
  }
  std::uint64_t size(const std::string& name) const override { return files_.at(name).size(); }
  std::shared_ptr<const ByteSource> open(const std::string& name, bool,
                                         Diagnostics&) const override {
    return std::make_shared<MemorySource>(name, files_.at(name));
  }

 private:
  std::map<std::string, Bytes> files_;
};

/// Reads one file of a folder as read_source() does.
inline ReadResult read_in_folder(std::map<std::string, Bytes> files, const std::string& name,
                                 const ReadOptions& options = {}) {
  auto source = std::make_shared<MemorySource>(name, files.at(name));
  return read_source(std::move(source), options, std::make_shared<MemoryFolder>(std::move(files)));
}

}  // namespace vmconvert::test
