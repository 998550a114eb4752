#include "vmconvert/model/plain_memory.h"

#include <filesystem>

#include "support/image_bytes.h"
#include "support/scratch_folder.h"
#include "support/test.h"
#include "vmconvert/io/input.h"

namespace vmconvert::test {
namespace {

/// Bytes with holes where it is told.
class HolesSource final : public ByteSource {
 public:
  HolesSource(std::uint64_t size, std::vector<FileRange> data)
      : size_(size), data_(std::move(data)) {}
  const std::string& name() const override { return name_; }
  std::uint64_t size() const override { return size_; }
  void read_at(FileOffset, std::span<std::byte>) const override {}
  FileRange next_data(FileOffset at) const override {
    for (const FileRange& range : data_) {
      if (range.end() > at) return range.intersection(FileRange::between(at, {size_}));
    }
    return FileRange::sized({size_}, 0);
  }

 private:
  std::string name_ = "source";
  std::uint64_t size_;
  std::vector<FileRange> data_;
};

FileRange file_range(std::uint64_t begin, std::uint64_t end) {
  return FileRange::between({begin}, {end});
}

/// "begin-end@at" of each run, "begin-end:0" of zeros.
std::vector<std::string> runs_of(const ByteSource& source, GuestRange guest, std::uint64_t at) {
  RunListBuilder builder(4096);
  add_plain_memory(builder, guest, 3, source, {at});
  const RunList list = builder.finish();
  list.check_invariants();
  std::vector<std::string> texts;
  for (const Run& run : list) {
    std::string text = hex(run.guest.begin().value) + "-" + hex(run.guest.end().value);
    const auto* file = std::get_if<InFile>(&run.backing);
    if (file != nullptr) CHECK(file->source == 3);
    texts.push_back(text + (file != nullptr ? "@" + hex(file->at.value) : ":0"));
  }
  return texts;
}

constexpr std::uint64_t kMiB = 1 << 20;

TEST_CASE("plain memory: holes that are large enough become zeros") {
  using Texts = std::vector<std::string>;
  const HolesSource source(8 * kMiB,
                           {file_range(kMiB, 2 * kMiB), file_range(2 * kMiB + 4096, 3 * kMiB),
                            file_range(6 * kMiB, 7 * kMiB)});
  CHECK(runs_of(source, guest_range(0x10000000, 0x10000000 + 8 * kMiB), 0) ==
        Texts{"0x10000000-0x10100000:0", "0x10100000-0x10300000@0x100000",
              "0x10300000-0x10600000:0", "0x10600000-0x10700000@0x600000",
              "0x10700000-0x10800000:0"});
  // A part that begins and ends anywhere.
  CHECK(runs_of(source, guest_range(0, 0x1000), kMiB + 0x123) == Texts{"0x0-0x1000@0x100123"});
  CHECK(runs_of(source, guest_range(0, 4 * kMiB), 2 * kMiB) ==
        Texts{"0x0-0x100000@0x200000", "0x100000-0x400000:0"});
  CHECK(runs_of(source, guest_range(0, 0x1000), 4 * kMiB) == Texts{"0x0-0x1000:0"});
  CHECK(runs_of(source, guest_range(0, 0x1000), 7 * kMiB) == Texts{"0x0-0x1000:0"});
  CHECK(runs_of(source, guest_range(0, 0), 0).empty());
}

TEST_CASE("plain memory: a source that cannot tell has no holes") {
  const MemorySource source("source", Bytes(kMiB));
  CHECK(source.next_data({5}) == file_range(5, kMiB));
  CHECK(runs_of(source, guest_range(0, kMiB), 0) == std::vector<std::string>{"0x0-0x100000@0x0"});
}

TEST_CASE("file source: holes of a sparse file, and its end") {
  const ScratchFolder scratch;
  const std::string path = scratch.path("sparse");
  write_file(path, Bytes(kMiB, std::byte{1}));
  std::filesystem::resize_file(path, 64 * kMiB);
  class Silent final : public Diagnostics {
    void report(Level, std::string_view, std::optional<std::uint64_t>, std::string_view) override {}
    bool wants(Level) const override { return false; }
  } silent;
  const auto source = Input::open(path, false, silent).source();
  CHECK(source->next_data({0}).begin().value == 0);
  CHECK(source->next_data({4096}).begin().value == 4096);
  const FileRange rest = source->next_data({32 * kMiB});
  // A file system without holes has nothing but data.
  CHECK((rest == file_range(64 * kMiB, 64 * kMiB) || rest == file_range(32 * kMiB, 64 * kMiB)));
  CHECK(source->next_data({64 * kMiB}).empty());
}

TEST_CASE("neighbours: the files beside a path") {
  const ScratchFolder scratch;
  for (const char* name : {"b", "a", "C"}) write_file(scratch.path(name), Bytes(10));
  std::filesystem::create_directory(scratch.path("folder"));
  const auto neighbours = neighbours_of(scratch.path("not there"));
  CHECK(neighbours->names() == std::vector<std::string>{"C", "a", "b", "folder"});
  CHECK(neighbours->size("a") == 10);
  CHECK(neighbours->size("folder") == 0);
  CHECK(neighbours->size("none") == 0);
  CHECK(neighbours_of("/no/such/folder/x")->names().empty());
  CHECK_FALSE(neighbours_of("x")->names().empty());
}

}  // namespace
}  // namespace vmconvert::test
