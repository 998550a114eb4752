#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "vmconvert/base/address.h"
#include "vmconvert/io/unique_fd.h"

namespace vmconvert {

/// Bytes that can be read at any place. Immutable for our purposes; safe from many threads.
class ByteSource {
 public:
  ByteSource() = default;
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;
  virtual ~ByteSource() = default;

  /// For messages.
  virtual const std::string& name() const = 0;
  virtual std::uint64_t size() const = 0;
  /// Fills `out` completely. @throws Error(io) if the source fails or ends before that
  virtual void read_at(FileOffset at, std::span<std::byte> out) const = 0;
  /// The next range at or behind `at`, which is not behind the end, that can hold anything but
  /// zeros: what lies between is a hole. Empty, at the end, if there is none. A source that cannot
  /// tell has no holes.
  virtual FileRange next_data(FileOffset at) const { return FileRange::between(at, {size()}); }
  /// An open file whose bytes are those of the source, at the same places; -1 if there is none. Stays
  /// with the source.
  virtual int descriptor() const { return -1; }
};

/// A regular file or a block device, opened for reading only.
class FileSource final : public ByteSource {
 public:
  /// @throws Error(io) if the size of what `fd` refers to cannot be told
  FileSource(UniqueFd fd, std::string name);

  const std::string& name() const override { return name_; }
  std::uint64_t size() const override { return size_; }
  void read_at(FileOffset at, std::span<std::byte> out) const override;
  FileRange next_data(FileOffset at) const override;
  int descriptor() const override { return fd_.get(); }

 private:
  UniqueFd fd_;
  std::string name_;
  std::uint64_t size_;
};

/// Bytes in memory, for tests and fuzzers.
class MemorySource final : public ByteSource {
 public:
  MemorySource(std::string name, std::vector<std::byte> bytes)
      : name_(std::move(name)), bytes_(std::move(bytes)) {}

  const std::string& name() const override { return name_; }
  std::uint64_t size() const override { return bytes_.size(); }
  void read_at(FileOffset at, std::span<std::byte> out) const override;

 private:
  std::string name_;
  std::vector<std::byte> bytes_;
};

}  // namespace vmconvert
