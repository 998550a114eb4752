#include "vmconvert/io/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <limits>

#include "vmconvert/base/error.h"

namespace vmconvert {
namespace {

Error exists(const std::string& target) {
  return Error(ErrorKind::usage, target, std::nullopt,
               "exists already (use --force to replace it)");
}

bool is_link(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 && S_ISLNK(status.st_mode);
}

/// Where a symbolic link leads, so that it is not the link that gets replaced (/dev/stdout is one).
/// A link that leads nowhere is itself the place.
std::string resolved(const std::string& target) {
  struct stat status {};
  if (!is_link(target) || ::stat(target.c_str(), &status) != 0) return target;
  std::error_code error;
  const auto path = std::filesystem::canonical(target, error);
  if (error) throw io_error(target, std::nullopt, "create", error.value());
  return path.string();
}

void check_folder(const std::string& target) {
  const auto folder = std::filesystem::path(resolved(target)).parent_path();
  if (::faccessat(AT_FDCWD, folder.empty() ? "." : folder.c_str(), W_OK | X_OK, AT_EACCESS) != 0) {
    throw io_error(target, std::nullopt, "create", errno);
  }
}

// Of 255 bytes that a name may have. Names of extracted files differ in the first 220.
constexpr std::size_t kNamePart = 220;

std::string temporary_name(const std::string& target) {
  const std::filesystem::path path(target);
  const std::string name =
      "." + path.filename().string().substr(0, kNamePart) + "." + std::to_string(::getpid()) + ".tmp";
  return (path.parent_path() / name).string();
}

/// rename() that fails with EEXIST instead of replacing.
int rename_new(const char* from, const char* to) {
  if (::renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return -1;
  if (::link(from, to) != 0) {
    // Neither is possible (FAT, some network file systems): the check at the start has to do.
    return errno == EPERM || errno == EOPNOTSUPP ? ::rename(from, to) : -1;
  }
  return ::unlink(from);
}

}  // namespace

void check_output_target(const std::string& target, bool force) {
  struct stat status {};
  if (::stat(target.c_str(), &status) != 0) {
    if (errno != ENOENT) throw io_error(target, std::nullopt, "create", errno);
    if (is_link(target) && !force) throw exists(target);
    check_folder(target);
    return;
  }
  if (S_ISDIR(status.st_mode)) {
    throw Error(ErrorKind::usage, target, std::nullopt, "is a folder; name a file in it");
  }
  if (!S_ISREG(status.st_mode)) {
    throw Error(ErrorKind::usage, target, std::nullopt, "exists and is not a regular file");
  }
  if (!force) throw exists(target);
  check_folder(target);
}

UniqueFd TemporaryFiles::create(const std::string& path) {
  const std::lock_guard lock(mutex_);
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (fd) paths_.insert(path);
  return fd;
}

bool TemporaryFiles::create_folder(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (::mkdir(path.c_str(), 0700) != 0) return false;
  folders_.insert(path);
  return true;
}

void TemporaryFiles::remove(const std::string& path) {
  const std::lock_guard lock(mutex_);
  paths_.erase(path);
  folders_.erase(path);
}

std::unique_lock<std::mutex> TemporaryFiles::unlink_all() {
  std::unique_lock lock(mutex_);
  for (const std::string& path : paths_) ::unlink(path.c_str());
  for (const std::string& path : folders_) ::rmdir(path.c_str());
  paths_.clear();
  folders_.clear();
  return lock;
}

OutputFile::OutputFile(const std::string& target, bool force, TemporaryFiles& temporaries)
    : target_(target), force_(force), temporaries_(temporaries) {
  check_output_target(target, force);
  path_ = resolved(target);
  temporary_ = temporary_name(path_);
  fd_ = temporaries_.create(temporary_);
  if (!fd_) throw io_error(target, std::nullopt, "create", errno);
}

OutputFile::~OutputFile() {
  if (temporary_.empty()) return;
  ::unlink(temporary_.c_str());
  temporaries_.remove(temporary_);
}

std::uint64_t OutputFile::free_bytes() const {
  struct statvfs status {};
  // Some FUSE file systems answer with zeros everywhere.
  if (::fstatvfs(fd_.get(), &status) != 0 || status.f_blocks == 0) {
    return std::numeric_limits<std::uint64_t>::max();
  }
  return static_cast<std::uint64_t>(status.f_bavail) * status.f_frsize;
}

void OutputFile::finish() {
  // NFS and FUSE report here what they could not write.
  if (fd_ && ::close(fd_.release()) != 0) throw io_error(target_, std::nullopt, "close", errno);
}

void OutputFile::commit() {
  finish();
  const int status = force_ ? std::rename(temporary_.c_str(), path_.c_str())
                            : rename_new(temporary_.c_str(), path_.c_str());
  if (status != 0) {
    if (errno == EEXIST) throw exists(target_);
    throw io_error(target_, std::nullopt, "rename", errno);
  }
  temporaries_.remove(temporary_);
  temporary_.clear();
}

}  // namespace vmconvert
