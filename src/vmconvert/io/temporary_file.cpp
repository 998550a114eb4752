#include "vmconvert/io/temporary_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

namespace vmconvert {
namespace {

std::string temporary_folder() {
  const char* chosen = std::getenv("TMPDIR");
  return chosen != nullptr && *chosen != '\0' ? chosen : "/var/tmp";
}

UniqueFd open_unlinked(const std::string& folder) {
  if (const int fd = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600); fd >= 0) {
    return UniqueFd(fd);
  }
  std::string path = folder + "/vmconvert.XXXXXX";  // the file system has no O_TMPFILE
  UniqueFd fd(::mkostemp(path.data(), O_CLOEXEC));
  if (!fd) throw io_error(folder, std::nullopt, "temporary file", errno);
  ::unlink(path.c_str());
  return fd;
}

}  // namespace

TemporaryFile::TemporaryFile() : folder_(temporary_folder()), fd_(open_unlinked(folder_)) {}

void TemporaryFile::write_at(FileOffset at, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(at.value));
    if (n < 0) {
      if (errno == EINTR) continue;
      throw io_error(folder_, std::nullopt, "temporary file (set TMPDIR to a larger place)", errno);
    }
    at = at + static_cast<std::uint64_t>(n);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
}

void TemporaryFile::read_at(FileOffset at, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t n = ::pread(fd_.get(), out.data(), out.size(), static_cast<off_t>(at.value));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) throw io_error(folder_, std::nullopt, "temporary file", n == 0 ? EIO : errno);
    at = at + static_cast<std::uint64_t>(n);
    out = out.subspan(static_cast<std::size_t>(n));
  }
}

std::shared_ptr<const ByteSource> TemporaryFile::to_source(std::string name) && {
  return std::make_shared<FileSource>(std::move(fd_), std::move(name));
}

}  // namespace vmconvert
