#include "vmconvert/io/input.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

namespace vmconvert {
namespace {

constexpr std::size_t kMagicBytes = 16;

/// A pipe, with the bytes already taken from it put back in front.
class PipeReader final : public SequentialReader {
 public:
  PipeReader(int fd, const std::string& name) : fd_(fd), name_(name) {}

  /// Up to kMagicBytes, fewer only at the end of the pipe. They will be read again.
  std::span<const std::byte> peek_magic() {
    while (head_.size() < kMagicBytes) {
      std::array<std::byte, kMagicBytes> bytes{};
      const std::size_t n = read_fd(std::span(bytes).first(kMagicBytes - head_.size()));
      if (n == 0) break;
      head_.insert(head_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
    }
    return head_;
  }

  std::size_t read_some(std::span<std::byte> out) override {
    if (head_.empty()) return read_fd(out);
    const std::size_t n = std::min(out.size(), head_.size());
    std::copy_n(head_.begin(), n, out.begin());
    head_.erase(head_.begin(), head_.begin() + static_cast<std::ptrdiff_t>(n));
    return n;
  }

 private:
  std::size_t read_fd(std::span<std::byte> out) {
    for (;;) {
      const ssize_t n = ::read(fd_, out.data(), out.size());
      if (n >= 0) return static_cast<std::size_t>(n);
      if (errno != EINTR) throw io_error(name_, std::nullopt, "read", errno);
    }
  }

  int fd_;
  const std::string& name_;
  std::vector<std::byte> head_;
};

UniqueFd open_for_reading(const std::string& path, const std::string& name) {
  UniqueFd fd(path == "-" ? ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)
                          : ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd) throw io_error(name, std::nullopt, "open", errno);
  return fd;
}

void note_codec(Codec codec, const std::string& name, Diagnostics& diagnostics) {
  diagnostics.decision(name,
                       std::string(codec_name(codec)) + " data, unpacked to a temporary file");
}

std::shared_ptr<const ByteSource> spool_pipe(int fd, const std::string& name, bool salvage,
                                             Diagnostics& diagnostics) {
  PipeReader pipe(fd, name);
  const auto codec = recognise_codec(pipe.peek_magic());
  if (codec) note_codec(*codec, name, diagnostics);
  return spool(pipe, codec, {.name = name, .salvage = salvage}, diagnostics);
}

}  // namespace

Input Input::open(const std::string& path, bool salvage, Diagnostics& diagnostics) {
  const std::string name = path == "-" ? "standard input" : path;
  UniqueFd fd = open_for_reading(path, name);
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) throw io_error(name, std::nullopt, "stat", errno);
  if (S_ISDIR(status.st_mode)) throw io_error(name, std::nullopt, "read", EISDIR);
  if (path == "-" && ::isatty(fd.get()) == 1) {
    throw Error(ErrorKind::usage, name, std::nullopt,
                "is a terminal; redirect a file or pipe to it");
  }
  const auto neighbours = path == "-" ? nullptr : neighbours_of(path);
  // Standard input may be a file that somebody read the beginning of; that part is not ours.
  const bool rewound = path != "-" || ::lseek(fd.get(), 0, SEEK_CUR) == 0;
  if (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode) ||
      (S_ISREG(status.st_mode) && !rewound)) {
    return Input(spool_pipe(fd.get(), name, salvage, diagnostics), salvage, neighbours);
  }
  if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode)) {
    throw Error(ErrorKind::io, name, std::nullopt,
                "is neither a regular file nor a block device nor a pipe");
  }
  Input input(std::make_shared<FileSource>(std::move(fd), name), salvage, neighbours);
  const std::uint64_t size = input.source_->size();
  std::array<std::byte, kMagicBytes> head{};
  const auto present = std::span(head).first(std::min<std::uint64_t>(size, head.size()));
  input.source_->read_at({0}, present);
  if (const auto codec = recognise_codec(present)) {
    return Input(input.unpack(FileRange::sized({0}, size), *codec, diagnostics), salvage,
                 neighbours);
  }
  return input;
}

std::shared_ptr<const ByteSource> Input::unpack(FileRange range, Codec codec,
                                                Diagnostics& diagnostics) const {
  note_codec(codec, source_->name(), diagnostics);
  RangeReader reader(*source_, range);
  return spool(reader, codec, {.name = source_->name(), .salvage = salvage_}, diagnostics);
}

}  // namespace vmconvert
