#include "vmconvert/io/input.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <thread>

#include "support/collecting_diagnostics.h"
#include "support/compress.h"
#include "support/scratch_folder.h"
#include "support/sequential.h"
#include "support/test.h"

namespace vmconvert {
namespace {

using test::Bytes;
using test::CollectingDiagnostics;
using test::error_of;
using test::mixed_content;
using test::ScratchFolder;

Bytes content(const Input& input) {
  Bytes bytes(input.source()->size());
  input.source()->read_at({0}, bytes);
  return bytes;
}

TEST_CASE("input: a plain file is read in place") {
  const ScratchFolder folder;
  CollectingDiagnostics diagnostics;
  const Bytes plain = mixed_content(10'000);
  test::write_file(folder.path("f"), plain);
  const Input input = Input::open(folder.path("f"), false, diagnostics);
  CHECK(input.source()->name() == folder.path("f"));
  CHECK(content(input) == plain);
  CHECK(diagnostics.of(Diagnostics::Level::decision).empty());
}

TEST_CASE("input: compressed files are unpacked whatever their name") {
  const ScratchFolder folder;
  const Bytes plain = mixed_content(10'000);
  for (const Codec codec : all_codecs()) {
    CollectingDiagnostics diagnostics;
    test::write_file(folder.path("f"), test::compress(codec, plain));
    CHECK(content(Input::open(folder.path("f"), false, diagnostics)) == plain);
    CHECK(diagnostics.of(Diagnostics::Level::decision) ==
          std::vector{folder.path("f") + ": " + std::string(codec_name(codec)) +
                      " data, unpacked to a temporary file"});
  }
}

TEST_CASE("input: a pipe is copied and unpacked") {
  const ScratchFolder folder;
  const Bytes plain = mixed_content(300'000);
  for (const bool packed : {false, true}) {
    CollectingDiagnostics diagnostics;
    const std::string path = folder.path(packed ? "p" : "q");
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    std::jthread writer(
        [&] { test::write_file(path, packed ? test::compress(Codec::gzip, plain) : plain); });
    CHECK(content(Input::open(path, false, diagnostics)) == plain);
  }
}

TEST_CASE("input: small and empty files are inputs") {
  const ScratchFolder folder;
  CollectingDiagnostics diagnostics;
  for (const unsigned size : {0U, 1U, 3U, 15U, 16U, 17U}) {
    test::write_file(folder.path("f"), Bytes(size, std::byte{1}));
    CHECK(content(Input::open(folder.path("f"), false, diagnostics)) == Bytes(size, std::byte{1}));
  }
}

TEST_CASE("input: what cannot be read is named with the reason") {
  const ScratchFolder folder;
  CollectingDiagnostics diagnostics;
  const std::string none = folder.path("none");
  CHECK(error_of([&] { Input::open(none, false, diagnostics); }) ==
        none + ": open: No such file or directory");
  CHECK(error_of([&] { Input::open(folder.path("."), false, diagnostics); }) ==
        folder.path(".") + ": read: Is a directory");
  CHECK(error_of([&] { Input::open("/dev/null", false, diagnostics); }) ==
        "/dev/null: is neither a regular file nor a block device nor a pipe");
}

TEST_CASE("input: a part of the source is unpacked on its own") {
  const Bytes plain = mixed_content(5'000);
  const Bytes packed = test::compress(Codec::xz, plain);
  CollectingDiagnostics diagnostics;
  const Input input(
      std::make_shared<MemorySource>("m", test::ByteWriter().fill(9, 1).append(packed).bytes()),
      false);
  const auto source = input.unpack(FileRange::sized({9}, packed.size()), Codec::xz, diagnostics);
  CHECK(source->name() == "m");
  CHECK(source->size() == plain.size());
}

TEST_CASE("file source: a file that shrinks is an error where it ends") {
  const ScratchFolder folder;
  test::write_file(folder.path("f"), Bytes(100));
  const FileSource source(UniqueFd(::open(folder.path("f").c_str(), O_RDWR | O_CLOEXEC)), "f");
  CHECK(source.size() == 100);
  REQUIRE(::truncate(folder.path("f").c_str(), 60) == 0);
  Bytes bytes(50);
  source.read_at({10}, bytes);
  CHECK(error_of([&] { source.read_at({20}, bytes); }) ==
        "f: offset 0x3c: read: the file ends here (did it shrink?)");
}

TEST_CASE("memory source: reads to its end and not beyond") {
  const MemorySource source("m", Bytes(10));
  Bytes ten(10), one(1);
  source.read_at({0}, ten);
  source.read_at({10}, {});
  CHECK(error_of([&] { source.read_at({10}, one); }) ==
        "m: offset 0xa: read: the file ends here (did it shrink?)");
  CHECK(error_of([&] { source.read_at({~std::uint64_t{0}}, ten); }) ==
        "m: offset 0xffffffffffffffff: read: the file ends here (did it shrink?)");
}

}  // namespace
}  // namespace vmconvert
