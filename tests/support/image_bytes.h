#pragma once

#include <atomic>
#include <cstdint>

#include "support/byte_writer.h"
#include "vmconvert/convert/copy_engine.h"
#include "vmconvert/model/guest_image.h"

namespace vmconvert::test {

constexpr GuestRange guest_range(std::uint64_t begin, std::uint64_t end) {
  return GuestRange::between({begin}, {end});
}

/// Guest memory of [begin, begin + size). @throws std::logic_error if a part of it is in no run
Bytes guest_bytes(const GuestImage& image, std::uint64_t begin, std::size_t size);

/// What the plan makes of the image, worked out byte by byte from the runs without the copy
/// engine. Runs are read in a way of their own, so that both cannot be wrong alike.
Bytes naive_output(const OutputPlan& plan, const GuestImage& image);

/// The engine's output.
Bytes executed(const OutputPlan& plan, const GuestImage& image, unsigned threads = 1);

/// Adds up what it is told.
class CountingProgress final : public Progress {
 public:
  void begin(std::uint64_t total) override { total_ = total; }
  void advance(std::uint64_t bytes) override { done_ += bytes; }
  std::uint64_t total() const { return total_; }
  std::uint64_t done() const { return done_; }

 private:
  std::uint64_t total_ = 0;
  std::atomic<std::uint64_t> done_ = 0;
};

}  // namespace vmconvert::test
