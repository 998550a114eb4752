#include "vmconvert/io/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "support/scratch_folder.h"
#include "support/test.h"

namespace vmconvert {
namespace {

using test::error_of;
using test::ScratchFolder;
using Names = std::vector<std::string>;

constexpr const char* kExists = ": exists already (use --force to replace it)";

void put(const OutputFile& file, std::string_view text) {
  REQUIRE(::write(file.fd(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}

std::string content(const std::string& path) {
  const test::Bytes bytes = test::read_file(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST_CASE("output file: appears on commit and only then with mode 0600") {
  const ScratchFolder folder;
  TemporaryFiles temporaries;
  OutputFile file(folder.path("out"), false, temporaries);
  put(file, "memory");
  CHECK(!std::filesystem::exists(folder.path("out")));
  REQUIRE(folder.names().size() == 1);
  CHECK(folder.names()[0].starts_with(".out."));
  CHECK(folder.names()[0].ends_with(".tmp"));
  struct stat status {};
  REQUIRE(::fstat(file.fd(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
  file.commit();
  CHECK(folder.names() == Names{"out"});
  CHECK(content(folder.path("out")) == "memory");
  CHECK(file.target() == folder.path("out"));
}

TEST_CASE("output file: one that is finished waits for its commit without a descriptor") {
  const ScratchFolder folder;
  TemporaryFiles temporaries;
  {
    OutputFile file(folder.path("out"), false, temporaries);
    put(file, "memory");
    const int fd = file.fd();
    file.finish();
    CHECK(::fcntl(fd, F_GETFD) == -1);
    CHECK(!std::filesystem::exists(folder.path("out")));
    file.commit();
    CHECK(content(folder.path("out")) == "memory");
    OutputFile other(folder.path("other"), false, temporaries);
    other.finish();
  }
  CHECK(folder.names() == Names{"out"});
}

TEST_CASE("output file: vanishes without commit") {
  const ScratchFolder folder;
  TemporaryFiles temporaries;
  { const OutputFile file(folder.path("out"), false, temporaries); }
  CHECK(folder.names().empty());
}

TEST_CASE("output file: a signal's unlink_all takes it away") {
  const ScratchFolder folder;
  TemporaryFiles temporaries;
  const OutputFile file(folder.path("out"), false, temporaries);
  CHECK(folder.names().size() == 1);
  const auto held = temporaries.unlink_all();
  CHECK(folder.names().empty());
}

TEST_CASE("output file: a committed one is safe from unlink_all") {
  const ScratchFolder folder;
  TemporaryFiles temporaries;
  OutputFile file(folder.path("out"), false, temporaries);
  file.commit();
  const auto held = temporaries.unlink_all();
  CHECK(folder.names() == Names{"out"});
}

TEST_CASE("output file: an existing target needs force and stays until commit") {
  const ScratchFolder folder;
  TemporaryFiles temporaries;
  const std::string target = folder.path("out");
  test::write_file(target, test::from_hex("6f 6c 64"));
  CHECK(error_of([&] { check_output_target(target, false); }) == target + kExists);
  CHECK(error_of([&] { OutputFile(target, false, temporaries); }) == target + kExists);
  CHECK(folder.names() == Names{"out"});
  {
    const OutputFile abandoned(target, true, temporaries);
    put(abandoned, "new");
  }
  CHECK(content(target) == "old");
  OutputFile file(target, true, temporaries);
  put(file, "new");
  CHECK(content(target) == "old");
  file.commit();
  CHECK(content(target) == "new");
  CHECK(folder.names() == Names{"out"});
}

TEST_CASE("output file: a target that somebody else makes meanwhile is not replaced") {
  const ScratchFolder folder;
  TemporaryFiles temporaries;
  const std::string target = folder.path("out");
  {
    OutputFile file(target, false, temporaries);
    test::write_file(target, test::from_hex("6f 6c 64"));
    CHECK(error_of([&] { file.commit(); }) == target + kExists);
  }
  CHECK(content(target) == "old");
  CHECK(folder.names() == Names{"out"});
}

TEST_CASE("output file: folders and devices are no targets") {
  const ScratchFolder folder;
  TemporaryFiles temporaries;
  const std::string inside = folder.path("folder");
  std::filesystem::create_directory(inside);
  CHECK(error_of([&] { check_output_target(inside, true); }) ==
        inside + ": is a folder; name a file in it");
  CHECK(error_of([&] { OutputFile(inside, true, temporaries); }) ==
        inside + ": is a folder; name a file in it");
  CHECK(error_of([&] { check_output_target("/dev/null", true); }) ==
        "/dev/null: exists and is not a regular file");
}

TEST_CASE("output file: a folder that does not exist is named") {
  const ScratchFolder folder;
  TemporaryFiles temporaries;
  const std::string target = folder.path("missing/out");
  CHECK(error_of([&] { OutputFile(target, false, temporaries); }) ==
        target + ": create: No such file or directory");
}

TEST_CASE("output file: the longest name the file system takes works") {
  const ScratchFolder folder;
  TemporaryFiles temporaries;
  const std::string name(255, 'n');
  OutputFile file(folder.path(name), false, temporaries);
  file.commit();
  CHECK(folder.names() == Names{name});
  CHECK(error_of([&] { OutputFile(folder.path(name + "n"), false, temporaries); }) ==
        folder.path(name + "n") + ": create: File name too long");
}

TEST_CASE("output file: a symbolic link stays and its target is replaced") {
  const ScratchFolder folder;
  TemporaryFiles temporaries;
  test::write_file(folder.path("real"), test::from_hex("6f 6c 64"));
  std::filesystem::create_symlink("real", folder.path("link"));
  CHECK(error_of([&] { check_output_target(folder.path("link"), false); }) ==
        folder.path("link") + kExists);
  OutputFile file(folder.path("link"), true, temporaries);
  put(file, "new");
  file.commit();
  CHECK(folder.names() == Names{"link", "real"});
  CHECK(std::filesystem::is_symlink(folder.path("link")));
  CHECK(content(folder.path("real")) == "new");
}

TEST_CASE("output file: a name without a folder lies in the current one") {
  const ScratchFolder folder;
  TemporaryFiles temporaries;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path(""));
  OutputFile file("out", false, temporaries);
  file.commit();
  std::filesystem::current_path(before);
  CHECK(folder.names() == Names{"out"});
}

TEST_CASE("output file: tells the room there is") {
  const ScratchFolder folder;
  TemporaryFiles temporaries;
  const OutputFile file(folder.path("out"), false, temporaries);
  CHECK(file.free_bytes() > 0);
}

}  // namespace
}  // namespace vmconvert
