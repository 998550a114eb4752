#pragma once

#include <filesystem>
#include <string>
#include <utility>

#include "support/byte_writer.h"
#include "support/qevm_builder.h"
#include "support/scratch_folder.h"

namespace vmconvert::test {

/// The seeds of one fuzz target.
class Corpus {
 public:
  explicit Corpus(std::filesystem::path folder) : folder_(std::move(folder)) {
    std::filesystem::create_directories(folder_);
  }
  void add(const std::string& name, const Bytes& bytes) const {
    write_file((folder_ / name).string(), bytes);
  }
  void add(const std::string& name, const QevmBuilder& stream) const { add(name, stream.bytes()); }

 private:
  std::filesystem::path folder_;
};

/// A page that compresses well.
inline Bytes compressible_page(unsigned value) {
  Bytes page(4096, static_cast<std::byte>(value));
  page[99] = std::byte{1};
  return page;
}

void add_checkpoints(const Corpus& corpus);
void add_panic_dumps(const Corpus& corpus);
void add_xen_cores(const Corpus& corpus);
void add_xen_saves(const Corpus& corpus);
void add_xen_searches(const Corpus& corpus);

}  // namespace vmconvert::test
