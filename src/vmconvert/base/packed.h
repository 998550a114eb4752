#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

namespace vmconvert {

/// The integer whose bytes, in `order`, are the first sizeof(T) of `bytes`, which must hold them.
template <std::unsigned_integral T>
constexpr T load(std::span<const std::byte> bytes, std::endian order) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    const std::size_t at = order == std::endian::big ? i : sizeof(T) - 1 - i;
    value = static_cast<T>((value << (sizeof(T) > 1 ? 8 : 0)) | std::to_integer<T>(bytes[at]));
  }
  return value;
}

/// Integer of a fixed byte order with no alignment: a struct of these is the layout on disk.
template <std::unsigned_integral T, std::endian Order>
class Packed {
 public:
  constexpr Packed() = default;
  constexpr Packed(T value) {  // NOLINT(google-explicit-constructor): reads as the integer it is
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      const std::size_t at = Order == std::endian::big ? sizeof(T) - 1 - i : i;
      bytes_[at] = static_cast<std::byte>(static_cast<std::uint64_t>(value) >> (8 * i));
    }
  }
  constexpr operator T() const { return load<T>(bytes_, Order); }  // NOLINT

 private:
  std::array<std::byte, sizeof(T)> bytes_{};
};

template <std::unsigned_integral T>
using Le = Packed<T, std::endian::little>;

using le16 = Le<std::uint16_t>;
using le32 = Le<std::uint32_t>;
using le64 = Le<std::uint64_t>;

}  // namespace vmconvert
