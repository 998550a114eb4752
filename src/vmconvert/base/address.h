#pragma once

#include <compare>
#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

#include "vmconvert/base/error.h"

namespace vmconvert {

/// a + b. @throws Error(corrupt) on wrap-around.
constexpr std::uint64_t checked_add(std::uint64_t a, std::uint64_t b) {
  if (b > std::numeric_limits<std::uint64_t>::max() - a) {
    throw Error(ErrorKind::corrupt, "", std::nullopt, "address arithmetic overflows 64 bits");
  }
  return a + b;
}

/// a * b. @throws Error(corrupt) on wrap-around.
constexpr std::uint64_t checked_mul(std::uint64_t a, std::uint64_t b) {
  if (b != 0 && a > std::numeric_limits<std::uint64_t>::max() / b) {
    throw Error(ErrorKind::corrupt, "", std::nullopt, "size arithmetic overflows 64 bits");
  }
  return a * b;
}

/// The value in the narrower type. @throws Error(corrupt) if it does not fit.
template <std::integral To, std::integral From>
constexpr To checked_cast(From value) {
  if (!std::in_range<To>(value)) {
    throw Error(ErrorKind::corrupt, "", std::nullopt, "number does not fit its type");
  }
  return static_cast<To>(value);
}

/// n rounded up to a multiple of `alignment` (a power of two). @throws Error(corrupt) on overflow.
constexpr std::uint64_t align_up(std::uint64_t n, std::uint64_t alignment) {
  return checked_add(n, alignment - 1) & ~(alignment - 1);
}

/// One integer, one meaning: addresses of different kinds do not mix.
template <class Tag>
struct Address {
  std::uint64_t value = 0;
  friend constexpr auto operator<=>(Address, Address) = default;
  /// @throws Error(corrupt) on wrap-around
  friend constexpr Address operator+(Address a, std::uint64_t n) {
    return {checked_add(a.value, n)};
  }
  /// Bytes from b to a; b must not lie above a. @throws Error(corrupt) if it does.
  friend constexpr std::uint64_t operator-(Address a, Address b) {
    if (b.value > a.value) {
      throw Error(ErrorKind::corrupt, "", std::nullopt, "address arithmetic goes below zero");
    }
    return a.value - b.value;
  }
};

using GuestPhysAddr = Address<struct GuestPhysTag>;  ///< bytes in guest-physical space
using GuestVirtAddr = Address<struct GuestVirtTag>;  ///< bytes in the kernel's virtual space
using FileOffset = Address<struct FileOffsetTag>;    ///< bytes from the start of one source or sink

/// Half-open [begin, end). Never wraps.
template <class A>
class Range {
 public:
  constexpr Range() = default;

  /// For numbers from a file: nothing if begin + bytes wraps.
  static constexpr std::optional<Range> try_sized(A begin, std::uint64_t bytes) {
    if (bytes > std::numeric_limits<std::uint64_t>::max() - begin.value) return std::nullopt;
    return Range(begin, A{begin.value + bytes});
  }
  /// @throws Error(corrupt) on wrap-around
  static constexpr Range sized(A begin, std::uint64_t bytes) { return Range(begin, begin + bytes); }
  /// @throws Error(corrupt) if end lies below begin
  static constexpr Range between(A begin, A end) { return sized(begin, end - begin); }

  constexpr A begin() const { return begin_; }
  constexpr A end() const { return end_; }
  constexpr std::uint64_t size() const { return end_.value - begin_.value; }
  constexpr bool empty() const { return begin_ == end_; }
  constexpr bool contains(A a) const { return begin_ <= a && a < end_; }
  constexpr bool contains(Range r) const { return begin_ <= r.begin_ && r.end_ <= end_; }
  constexpr bool overlaps(Range r) const { return begin_ < r.end_ && r.begin_ < end_; }
  /// The common part; empty (at an unspecified place) if there is none.
  constexpr Range intersection(Range r) const {
    const A begin = begin_ < r.begin_ ? r.begin_ : begin_;
    const A end = end_ < r.end_ ? end_ : r.end_;
    return begin < end ? Range(begin, end) : Range(begin, begin);
  }
  friend constexpr bool operator==(Range, Range) = default;

 private:
  constexpr Range(A begin, A end) : begin_(begin), end_(end) {}
  A begin_{};
  A end_{};
};

using GuestRange = Range<GuestPhysAddr>;
using VirtualRange = Range<GuestVirtAddr>;
using FileRange = Range<FileOffset>;

}  // namespace vmconvert
