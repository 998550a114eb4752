#include "support/checkpoint_builder.h"
#include "support/encoded_ram.h"
#include "support/failing_io.h"
#include "support/fastlz_stream.h"
#include "support/image_bytes.h"
#include "support/memory_folder.h"
#include "support/panic_builder.h"
#include "support/qevm_builder.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

/// Files of a small machine; the one that is read and damaged comes by name.
struct Sample {
  std::string name;
  std::map<std::string, Bytes> files;
};

CheckpointBuilder builder(unsigned word_size = 8) {
  CheckpointBuilder file;
  file.word_size = word_size;
  file.group("Checkpoint").number("memSize", {}, 1).block("ProductName", {}, Bytes(20));
  file.group("cpu").number("cpu:numVCPUs", {}, 1).number("rip", {0}, 0xffffffff81000000, 8);
  file.block("gpregs", {0}, Bytes(128)).number("CR64", {0, 0}, 0x80000001, 8);
  file.group("memory").regions({{1, 0x10, 1}, {0, 0x20, 1}});
  return file;
}

std::vector<Sample> samples() {
  std::vector<Sample> all;
  CheckpointBuilder inside = builder();
  inside.block("Memory", {0, 0}, page_of(1, 8192), {.padding = 3});
  all.push_back({"vm.vmss", {{"vm.vmss", inside.bytes()}}});
  CheckpointBuilder narrow = builder(4);
  narrow.magic = 0xbed2bed0;
  Bytes sparse(8192);
  sparse[5000] = std::byte{7};
  narrow.block("Memory", {0, 0}, zlib_of(sparse), {.compressed = true, .memory_size = 8192});
  all.push_back({"vm.vmss", {{"vm.vmss", narrow.bytes()}}});
  all.push_back({"vm.vmsn", {{"vm.vmsn", builder().bytes()}, {"vm.vmem", page_of(2, 8192)}}});
  all.push_back(
      {"vm.vmem", {{"vm.vmsn", builder().bytes()}, {"vm.vmem", compressed_memory(sparse, 4096)}}});
  all.push_back({"vm.guest",
                 {{"vm.guest", PanicFile{.pages = 2, .holes = {{1, 1}}}.bytes()},
                  {"vm.vmem", page_of(2, 8192)}}});
  return all;
}

/// Reads all memory of an image. @returns the message of the Error, "" if there is none
std::string read_all(const GuestImage& image) {
  const std::string error = error_of([&] {
    for (const GuestRange extent : image.runs.extents()) {
      if (extent.size() <= 1 << 20) guest_bytes(image, extent.begin().value, extent.size());
    }
  });
  return error == "no error" ? "" : error;
}

/// Bytes of memory mean nothing to the reader.
bool is_dull(const Sample& sample, std::size_t at) {
  return sample.files.at(sample.name).size() > 4000 && at > 1200 && at % 97 != 0;
}

TEST_CASE("vmware damage: a file cut anywhere is an error, or gives true bytes") {
  for (const Sample& sample : samples()) {
    CAPTURE(sample.name);
    const ReadResult whole = read_in_folder(sample.files, sample.name);
    REQUIRE(whole.error == "");
    REQUIRE(read_all(*whole.image) == "");
    const Bytes& bytes = sample.files.at(sample.name);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      if (is_dull(sample, size)) continue;
      CAPTURE(size);
      auto files = sample.files;
      files[sample.name].resize(size);
      for (const bool salvage : {false, true}) {
        const ReadResult result = read_in_folder(files, sample.name, {.salvage = salvage});
        REQUIRE(result.image.has_value() != !result.error.empty());
        if (!result.image) continue;
        // Damage of a group without memory is a warning.
        if (!salvage) REQUIRE(result.image->runs.total_bytes() == 8192);
        for (const GuestRange extent : result.image->runs.extents()) {
          REQUIRE(guest_bytes(*result.image, extent.begin().value, extent.size()) ==
                  guest_bytes(*whole.image, extent.begin().value, extent.size()));
        }
      }
    }
  }
}

TEST_CASE("vmware damage: a flipped byte is an error or an image that keeps its promises") {
  for (const Sample& sample : samples()) {
    CAPTURE(sample.name);
    for (std::size_t at = 0; at < sample.files.at(sample.name).size(); ++at) {
      if (is_dull(sample, at)) continue;
      for (const unsigned pattern : {0x01U, 0x80U, 0xffU}) {
        CAPTURE(at);
        auto files = sample.files;
        files[sample.name][at] ^= static_cast<std::byte>(pattern);
        ReadResult result = read_in_folder(files, sample.name);
        REQUIRE(result.image.has_value() != !result.error.empty());
        if (result.image) read_all(*result.image);
        result = read_in_folder(files, sample.name, {.salvage = true});
        // What salvage keeps can be read.
        if (result.image) REQUIRE(read_all(*result.image) == "");
      }
    }
  }
}

TEST_CASE("vmware damage: each failing read ends with its error") {
  for (const Sample& sample : samples()) {
    CAPTURE(sample.name);
    const auto folder = std::make_shared<MemoryFolder>(sample.files);
    const auto memory = std::make_shared<MemorySource>(sample.name, sample.files.at(sample.name));
    for (std::uint64_t n = 1;; ++n) {
      CAPTURE(n);
      const auto source = std::make_shared<ThrowingSource>(memory, n);
      const ReadResult result = read_source(source, {.salvage = n % 2 == 0}, folder);
      if (!source->failed()) break;
      REQUIRE(result.kind == ErrorKind::io);
      REQUIRE(result.error.ends_with("read: Input/output error"));
    }
  }
}

}  // namespace
}  // namespace vmconvert::test
