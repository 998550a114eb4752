#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <thread>

#include "support/qevm_builder.h"
#include "support/scratch_folder.h"
#include "support/test.h"
#include "vmconvert/io/byte_sink.h"

namespace vmconvert {
namespace {

using test::Bytes;
using test::error_of;

UniqueFd create(const std::string& path) {
  return UniqueFd(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
}

/// Writes 3000 pieces of many sizes, more than one system call takes.
Bytes write_pieces(ByteSink& sink, FileOffset at) {
  const Bytes all = test::page_of(5, 100'000);
  std::vector<ConstBytes> pieces;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < 3000; ++i) {
    const std::size_t size = i % 67 == 0 ? 0 : i % 60;
    pieces.push_back(std::span(all).subspan(begin, size));
    begin += size;
  }
  sink.write_at(at, pieces);
  return {all.begin(), all.begin() + static_cast<std::ptrdiff_t>(begin)};
}

TEST_CASE("file sink: any number of pieces is written in order") {
  const test::ScratchFolder folder;
  const UniqueFd fd = create(folder.path("f"));
  FileSink sink(fd.get(), "f", true);
  sink.begin(200'000);
  const Bytes written = write_pieces(sink, {1000});
  const Bytes file = test::read_file(folder.path("f"));
  CHECK(file.size() == 200'000);
  CHECK(std::equal(written.begin(), written.end(), file.begin() + 1000));
  CHECK(std::count(file.begin(), file.begin() + 1000, std::byte{0}) == 1000);
}

TEST_CASE("file sink: zeros are a hole when sparse and written when not") {
  const test::ScratchFolder folder;
  constexpr std::uint64_t kSize = 8 << 20;
  for (const bool sparse : {true, false}) {
    CAPTURE(sparse);
    const UniqueFd fd = create(folder.path("f"));
    FileSink sink(fd.get(), "f", sparse);
    sink.begin(kSize);
    sink.zero_at({0}, kSize);
    struct stat status {};
    REQUIRE(::fstat(fd.get(), &status) == 0);
    CHECK(static_cast<std::uint64_t>(status.st_size) == kSize);
    CHECK((static_cast<std::uint64_t>(status.st_blocks) * 512 < kSize / 2) == sparse);
  }
}

TEST_CASE("file sink: a failing write names file and offset") {
  FileSink sink(-1, "out", true);
  const Bytes bytes(1);
  const ConstBytes piece = bytes;
  CHECK(error_of([&] { sink.begin(7); }) == "out: offset 0x7: set file size: Bad file descriptor");
  CHECK(error_of([&] { sink.write_at({0x20}, std::span(&piece, 1)); }) ==
        "out: offset 0x20: write: Bad file descriptor");
}

TEST_CASE("stream sink: a full pipe is waited for and zeros are written") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const UniqueFd reader(ends[0]);
  Bytes received;
  std::thread slow([&] {
    Bytes chunk(10'000);
    for (;;) {
      const ssize_t n = ::read(reader.get(), chunk.data(), chunk.size());
      if (n <= 0) break;
      received.insert(received.end(), chunk.begin(), chunk.begin() + n);
    }
  });
  Bytes written;
  {
    const UniqueFd writer(ends[1]);
    StreamSink sink(writer.get(), "pipe");
    CHECK(!sink.seekable());
    sink.begin(0);
    written = write_pieces(sink, {0});
    sink.zero_at({written.size()}, 300'001);
  }
  slow.join();
  written.resize(written.size() + 300'001);
  CHECK(received == written);
}

TEST_CASE("stream sink: a closed pipe is an error") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  ::close(ends[0]);
  const UniqueFd writer(ends[1]);
  const auto old = std::signal(SIGPIPE, SIG_IGN);
  StreamSink sink(writer.get(), "pipe");
  CHECK(error_of([&] { sink.zero_at({5}, 10); }) == "pipe: offset 0x5: write: Broken pipe");
  std::signal(SIGPIPE, old);
}

}  // namespace
}  // namespace vmconvert
