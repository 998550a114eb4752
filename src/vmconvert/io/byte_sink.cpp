#include "vmconvert/io/byte_sink.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>

namespace vmconvert {
namespace {

/// Calls `write(iovecs, count, offset)` until everything is written.
template <class Write>
void write_all(const std::string& name, FileOffset at, std::span<const ConstBytes> pieces,
               const Write& write) {
  std::array<iovec, IOV_MAX> vector{};
  std::size_t done_in_first = 0;  // of pieces.front()
  while (!pieces.empty()) {
    const std::size_t count = std::min(pieces.size(), vector.size());
    for (std::size_t i = 0; i < count; ++i) {
      const ConstBytes piece = i == 0 ? pieces[i].subspan(done_in_first) : pieces[i];
      vector[i] = {const_cast<std::byte*>(piece.data()), piece.size()};
    }
    ssize_t n = write(vector.data(), static_cast<int>(count), static_cast<off_t>(at.value));
    if (n < 0) {
      if (errno == EINTR) continue;
      throw io_error(name, at.value, "write", errno);
    }
    at = at + static_cast<std::uint64_t>(n);
    auto written = static_cast<std::size_t>(n) + done_in_first;
    while (!pieces.empty() && written >= pieces.front().size()) {
      written -= pieces.front().size();
      pieces = pieces.subspan(1);
    }
    done_in_first = written;
  }
}

template <class WriteAt>
void write_zeros(FileOffset at, std::uint64_t size, const WriteAt& write_at) {
  static constexpr std::array<std::byte, 64 * 1024> kZeros{};
  while (size != 0) {
    const ConstBytes piece = std::span(kZeros).first(std::min<std::uint64_t>(size, kZeros.size()));
    write_at(at, std::span(&piece, 1));
    at = at + piece.size();
    size -= piece.size();
  }
}

}  // namespace

void FileSink::begin(std::uint64_t size) {
  if (::ftruncate(fd_, static_cast<off_t>(size)) != 0) {
    throw io_error(name_, size, "set file size", errno);
  }
}

void FileSink::write_at(FileOffset at, std::span<const ConstBytes> pieces) {
  write_all(name_, at, pieces,
            [this](const iovec* v, int n, off_t o) { return ::pwritev(fd_, v, n, o); });
}

void FileSink::zero_at(FileOffset at, std::uint64_t size) {
  if (sparse_) return;  // never written to: a hole since begin()
  write_zeros(at, size, [this](FileOffset o, auto pieces) { write_at(o, pieces); });
}

bool FileSink::can_share(const ByteSource& source) {
  if (source.size() < kShareAlignment) return false;
  const bool shared = share_at({0}, source, FileRange::sized({0}, kShareAlignment));
  if (shared) begin(0);  // it was a trial
  return shared;
}

bool FileSink::share_at(FileOffset at, const ByteSource& source, FileRange part) {
  // Who wants zeros written wants storage of their own.
  if (!sparse_ || source.descriptor() < 0) return false;
  file_clone_range range{.src_fd = source.descriptor(),
                         .src_offset = part.begin().value,
                         .src_length = part.size(),
                         .dest_offset = at.value};
  return ::ioctl(fd_, FICLONERANGE, &range) == 0;
}

void StreamSink::write_at(FileOffset at, std::span<const ConstBytes> pieces) {
  write_all(name_, at, pieces,
            [this](const iovec* v, int n, off_t) { return ::writev(fd_, v, n); });
}

void StreamSink::zero_at(FileOffset at, std::uint64_t size) {
  write_zeros(at, size, [this](FileOffset o, auto pieces) { write_at(o, pieces); });
}

void MemorySink::write_at(FileOffset at, std::span<const ConstBytes> pieces) {
  for (const ConstBytes piece : pieces) {
    std::copy(piece.begin(), piece.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(at.value));
    at = at + piece.size();
  }
}

}  // namespace vmconvert
