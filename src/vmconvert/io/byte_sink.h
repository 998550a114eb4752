#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "vmconvert/base/address.h"
#include "vmconvert/io/byte_source.h"
#include "vmconvert/io/unique_fd.h"

namespace vmconvert {

using ConstBytes = std::span<const std::byte>;

/// Where the bytes of an output go.
class ByteSink {
 public:
  ByteSink() = default;
  ByteSink(const ByteSink&) = delete;
  ByteSink& operator=(const ByteSink&) = delete;
  virtual ~ByteSink() = default;

  /// True if any part may be written at any time, from many threads. Otherwise every byte must
  /// come in order, from one thread.
  virtual bool seekable() const = 0;
  /// Called once, before anything is written: the final size.
  virtual void begin(std::uint64_t size) = 0;
  /// Writes the pieces one after the other, beginning at `at`. @throws Error(io)
  virtual void write_at(FileOffset at, std::span<const ConstBytes> pieces) = 0;
  /// Makes `size` bytes at `at` zero, by leaving a hole where that is enough. @throws Error(io)
  virtual void zero_at(FileOffset at, std::uint64_t size) = 0;

  /// What places and sizes of shared storage are multiples of.
  static constexpr std::uint64_t kShareAlignment = 4096;
  /// True if share_at() can work for this source. Only before begin(). @throws Error(io)
  virtual bool can_share(const ByteSource&) { return false; }
  /// Makes the bytes at `at` those of a part of a source by sharing its storage.
  /// @returns false if that was not possible; the bytes have to be written then
  virtual bool share_at(FileOffset, const ByteSource&, FileRange) { return false; }
};

/// A regular file, empty when begin() is called.
class FileSink final : public ByteSink {
 public:
  /// @param fd  stays with the caller
  /// @param sparse  zeros become holes; otherwise they are written
  FileSink(int fd, std::string name, bool sparse)
      : fd_(fd), name_(std::move(name)), sparse_(sparse) {}

  bool seekable() const override { return true; }
  void begin(std::uint64_t size) override;
  void write_at(FileOffset at, std::span<const ConstBytes> pieces) override;
  void zero_at(FileOffset at, std::uint64_t size) override;
  bool can_share(const ByteSource& source) override;
  bool share_at(FileOffset at, const ByteSource& source, FileRange part) override;

 private:
  int fd_;
  std::string name_;
  bool sparse_;
};

/// A pipe, a terminal, a character device.
class StreamSink final : public ByteSink {
 public:
  /// @param fd  stays with the caller
  StreamSink(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}

  bool seekable() const override { return false; }
  void begin(std::uint64_t) override {}
  void write_at(FileOffset at, std::span<const ConstBytes> pieces) override;
  void zero_at(FileOffset at, std::uint64_t size) override;

 private:
  int fd_;
  std::string name_;
};

/// Bytes in memory, for tests.
class MemorySink final : public ByteSink {
 public:
  bool seekable() const override { return true; }
  void begin(std::uint64_t size) override { bytes_.assign(size, std::byte{0}); }
  void write_at(FileOffset at, std::span<const ConstBytes> pieces) override;
  void zero_at(FileOffset, std::uint64_t) override {}
  const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace vmconvert
