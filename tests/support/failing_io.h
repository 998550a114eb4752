#pragma once

#include <atomic>
#include <memory>
#include <utility>

#include "vmconvert/io/byte_sink.h"
#include "vmconvert/io/byte_source.h"

namespace vmconvert::test {

/// A source whose n-th read (from 1) and all later ones fail.
class ThrowingSource final : public ByteSource {
 public:
  ThrowingSource(std::shared_ptr<const ByteSource> source, std::uint64_t failing_read)
      : source_(std::move(source)), failing_read_(failing_read) {}

  const std::string& name() const override { return source_->name(); }
  std::uint64_t size() const override { return source_->size(); }
  void read_at(FileOffset at, std::span<std::byte> out) const override {
    if (++reads_ >= failing_read_) {
      throw Error(ErrorKind::io, name(), at.value, "read: Input/output error");
    }
    source_->read_at(at, out);
  }
  /// True if a read failed.
  bool failed() const { return reads_ >= failing_read_; }

 private:
  std::shared_ptr<const ByteSource> source_;
  std::uint64_t failing_read_;
  mutable std::atomic<std::uint64_t> reads_ = 0;
};

/// A sink whose n-th call (from 1) and all later ones fail.
class ThrowingSink final : public ByteSink {
 public:
  ThrowingSink(ByteSink& sink, std::uint64_t failing_call)
      : sink_(sink), failing_call_(failing_call) {}

  bool seekable() const override { return sink_.seekable(); }
  void begin(std::uint64_t size) override {
    count("set file size");
    sink_.begin(size);
  }
  void write_at(FileOffset at, std::span<const ConstBytes> pieces) override {
    count("write");
    sink_.write_at(at, pieces);
  }
  void zero_at(FileOffset at, std::uint64_t size) override {
    count("zero");
    sink_.zero_at(at, size);
  }
  /// True if a call failed.
  bool failed() const { return calls_ >= failing_call_; }

 private:
  void count(const char* doing) {
    if (++calls_ < failing_call_) return;
    throw Error(ErrorKind::io, "output", std::nullopt,
                std::string(doing) + ": No space left on device");
  }

  ByteSink& sink_;
  std::uint64_t failing_call_;
  std::atomic<std::uint64_t> calls_ = 0;
};

}  // namespace vmconvert::test
