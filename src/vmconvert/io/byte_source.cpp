#include "vmconvert/io/byte_source.h"

#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace vmconvert {
namespace {

Error ended(const std::string& name, FileOffset at) {
  return Error(ErrorKind::io, name, at.value, "read: the file ends here (did it shrink?)");
}

}  // namespace

FileSource::FileSource(UniqueFd fd, std::string name)
    : fd_(std::move(fd)), name_(std::move(name)), size_(0) {
  // lseek rather than fstat: it also knows the size of a block device.
  const off_t end = ::lseek(fd_.get(), 0, SEEK_END);
  if (end < 0) throw io_error(name_, std::nullopt, "seek", errno);
  size_ = static_cast<std::uint64_t>(end);
}

void FileSource::read_at(FileOffset at, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t n = ::pread(fd_.get(), out.data(), out.size(), static_cast<off_t>(at.value));
    if (n < 0) {
      if (errno == EINTR) continue;
      throw io_error(name_, at.value, "read", errno);
    }
    if (n == 0) throw ended(name_, at);
    at = at + static_cast<std::uint64_t>(n);
    out = out.subspan(static_cast<std::size_t>(n));
  }
}

FileRange FileSource::next_data(FileOffset at) const {
  const FileRange rest = FileRange::between(at, {size_});
  if (rest.empty()) return rest;
  // Moves the position of the descriptor, which nobody uses.
  const off_t data = ::lseek(fd_.get(), static_cast<off_t>(at.value), SEEK_DATA);
  if (data < 0) return errno == ENXIO ? FileRange::sized({size_}, 0) : rest;
  const off_t hole = ::lseek(fd_.get(), data, SEEK_HOLE);
  if (hole < 0) return rest;
  const auto found = FileRange::between({static_cast<std::uint64_t>(data)},
                                        {static_cast<std::uint64_t>(hole)})
                         .intersection(rest);
  return found.empty() ? FileRange::sized({size_}, 0) : found;
}

void MemorySource::read_at(FileOffset at, std::span<std::byte> out) const {
  const auto range = FileRange::try_sized(at, out.size());
  if (!range || range->end().value > bytes_.size()) throw ended(name_, at);
  const auto begin = bytes_.begin() + static_cast<std::ptrdiff_t>(at.value);
  std::copy_n(begin, out.size(), out.begin());
}

}  // namespace vmconvert
