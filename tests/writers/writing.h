#pragma once

#include <stdexcept>
#include <string>

#include "all_writers.h"
#include "support/image_bytes.h"
#include "support/qevm_builder.h"
#include "vmconvert/base/packed.h"

namespace vmconvert::test {

inline const OutputFormat& writer(std::string_view name) {
  for (const OutputFormat& format : all_writers()) {
    if (format.name == name) return format;
  }
  throw std::logic_error("no writer " + std::string(name));
}

inline OutputPlan plan_of(std::string_view name, const GuestImage& image,
                          const WriteOptions& options = {}) {
  return writer(name).plan(image, options);
}

/// [begin, end) in the guest, backed by a source whose byte N is that of page_of(1) at N.
struct Extent {
  std::uint64_t begin, end;
};
inline GuestImage image_of(std::initializer_list<Extent> extents) {
  RunListBuilder runs(4096);
  std::uint64_t at = 0;
  for (const Extent& extent : extents) {
    runs.add(
        {guest_range(extent.begin, extent.end), InFile{.source = 0, .stride = 4096, .at = {at}}});
    at += extent.end - extent.begin + 1;
  }
  GuestImage image;
  image.sources.push_back(std::make_shared<MemorySource>("m", page_of(1, at)));
  image.runs = runs.finish();
  return image;
}

inline Bytes slice(const Bytes& bytes, std::uint64_t begin, std::uint64_t size) {
  const auto from = bytes.begin() + static_cast<std::ptrdiff_t>(begin);
  return {from, from + static_cast<std::ptrdiff_t>(size)};
}

inline bool all_zero(const Bytes& bytes) {
  for (const std::byte b : bytes) {
    if (b != std::byte{0}) return false;
  }
  return true;
}

}  // namespace vmconvert::test
