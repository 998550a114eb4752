#include "vmconvert/io/temporary_file.h"

#include <cstdlib>
#include <filesystem>

#include "support/byte_writer.h"
#include "support/scratch_folder.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

/// $TMPDIR for the life of this object.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(const std::string& path) {
    if (const char* old = std::getenv("TMPDIR")) old_ = old;
    ::setenv("TMPDIR", path.c_str(), 1);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    if (old_.empty()) {
      ::unsetenv("TMPDIR");
    } else {
      ::setenv("TMPDIR", old_.c_str(), 1);
    }
  }

 private:
  std::string old_;
};

TEST_CASE("temporary file: what was written can be read, at any place and in any order") {
  const ScratchFolder scratch;
  const std::string folder = scratch.path("folder");
  std::filesystem::create_directory(folder);
  const TemporaryFolder chosen(folder);
  TemporaryFile file;
  file.write_at({4096}, from_hex("01 02 03"));
  file.write_at({10}, from_hex("aa"));
  file.write_at({4097}, from_hex("ff"));
  CHECK(std::filesystem::is_empty(folder));  // it has no name
  Bytes bytes(3);
  file.read_at({4096}, bytes);
  CHECK(bytes == from_hex("01 ff 03"));
  file.read_at({9}, bytes);
  CHECK(bytes == from_hex("00 aa 00"));
  CHECK(error_of([&] { file.read_at({4098}, bytes); }) ==
        folder + ": temporary file: Input/output error");
  const auto source = std::move(file).to_source("guest");
  CHECK(source->name() == "guest");
  CHECK(source->size() == 4099);
  source->read_at({4096}, bytes);
  CHECK(bytes == from_hex("01 ff 03"));
}

TEST_CASE("temporary file: a folder that is not there is an error with its name") {
  const TemporaryFolder chosen("/nowhere/at/all");
  CHECK(error_of([] { TemporaryFile file; }) ==
        "/nowhere/at/all: temporary file: No such file or directory");
}

}  // namespace
}  // namespace vmconvert::test
