#include "vmconvert/io/output_folder.h"

#include <sys/stat.h>

#include <filesystem>

#include "support/scratch_folder.h"
#include "support/test.h"

namespace vmconvert {
namespace {

using test::error_of;
using test::ScratchFolder;
using Names = std::vector<std::string>;

TEST_CASE("output folder: stays when it is kept, for its owner only") {
  const ScratchFolder scratch;
  TemporaryFiles temporaries;
  {
    OutputFolder folder(scratch.path("out"), false, temporaries);
    folder.keep();
  }
  struct stat status {};
  REQUIRE(::stat(scratch.path("out").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0700);
  const auto held = temporaries.unlink_all();
  CHECK(scratch.names() == Names{"out"});
}

TEST_CASE("output folder: vanishes with its unfinished files") {
  const ScratchFolder scratch;
  TemporaryFiles temporaries;
  {
    const OutputFolder folder(scratch.path("out"), false, temporaries);
    const OutputFile file(scratch.path("out/file"), false, temporaries);
    CHECK(scratch.names() == Names{"out"});
  }
  CHECK(scratch.names().empty());
}

TEST_CASE("output folder: a signal's unlink_all takes it away with its unfinished files") {
  const ScratchFolder scratch;
  TemporaryFiles temporaries;
  const OutputFolder folder(scratch.path("out"), false, temporaries);
  const OutputFile file(scratch.path("out/file"), false, temporaries);
  const auto held = temporaries.unlink_all();
  CHECK(scratch.names().empty());
}

TEST_CASE("output folder: an existing one is used with force only, and never removed") {
  const ScratchFolder scratch;
  TemporaryFiles temporaries;
  std::filesystem::create_directory(scratch.path("out"));
  CHECK(error_of([&] { OutputFolder(scratch.path("out"), false, temporaries); }) ==
        scratch.path("out") + ": exists already (use --force to write into it)");
  { const OutputFolder folder(scratch.path("out"), true, temporaries); }
  CHECK(scratch.names() == Names{"out"});
}

TEST_CASE("output folder: what is no folder, and a folder that is missing") {
  const ScratchFolder scratch;
  TemporaryFiles temporaries;
  test::write_file(scratch.path("file"), {});
  CHECK(error_of([&] { check_output_folder(scratch.path("file"), true); }) ==
        scratch.path("file") + ": exists and is not a folder");
  CHECK(error_of([&] { OutputFolder(scratch.path("no/out"), false, temporaries); }) ==
        scratch.path("no/out") + ": create: No such file or directory");
  CHECK(error_of([&] { check_output_folder(scratch.path("file/out"), false); }) ==
        scratch.path("file/out") + ": create: Not a directory");
}

}  // namespace
}  // namespace vmconvert
