#include "vmconvert/io/output_folder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "vmconvert/base/error.h"

namespace vmconvert {
namespace {

/// True if there is a folder that may be used, false if there is nothing of this name.
bool is_usable(const std::string& path, bool force) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return false;
    throw io_error(path, std::nullopt, "create", errno);
  }
  if (!S_ISDIR(status.st_mode))
    throw Error(ErrorKind::usage, path, std::nullopt, "exists and is not a folder");
  if (!force)
    throw Error(ErrorKind::usage, path, std::nullopt,
                "exists already (use --force to write into it)");
  return true;
}

}  // namespace

void check_output_folder(const std::string& path, bool force) { is_usable(path, force); }

OutputFolder::OutputFolder(const std::string& path, bool force, TemporaryFiles& temporaries)
    : path_(path), temporaries_(temporaries) {
  if (is_usable(path, force)) return;
  if (!temporaries_.create_folder(path)) throw io_error(path, std::nullopt, "create", errno);
  unfinished_ = true;
}

OutputFolder::~OutputFolder() {
  if (!unfinished_) return;
  ::rmdir(path_.c_str());
  temporaries_.remove(path_);
}

void OutputFolder::keep() {
  if (unfinished_) temporaries_.remove(path_);
  unfinished_ = false;
}

}  // namespace vmconvert
