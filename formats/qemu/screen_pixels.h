#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vmconvert/model/guest_image.h"

namespace vmconvert::qemu {

/// Limits of a picture: no display of QEMU is larger than 16384 either way, and a small file may
/// claim any size, so not more pixels than an 8K display (7680x4320) has.
inline constexpr std::uint64_t kLargestSide = 16384;
inline constexpr std::uint64_t kMostPixels = std::uint64_t{1} << 25;

/// A colour of the picture.
struct Rgb {
  std::uint8_t red = 0, green = 0, blue = 0;
  friend bool operator==(const Rgb&, const Rgb&) = default;
};

/// The picture while it is drawn; black at first.
class Canvas {
 public:
  /// @throws Error(corrupt) if a side is 0 or the picture exceeds the limits
  Canvas(std::uint64_t width, std::uint64_t height);

  std::uint32_t width() const { return screen_.width; }
  std::uint32_t height() const { return screen_.height; }
  /// Throws std::logic_error outside the picture.
  void set(std::uint32_t x, std::uint32_t y, Rgb colour);
  /// Row `y` from the left on; what does not fit is ignored.
  void set_row(std::uint32_t y, std::span<const Rgb> colours);
  /// Turns the picture upside down.
  void flip();
  Screen finish(std::string origin) &&;

 private:
  Screen screen_;
};

/// How a linear framebuffer keeps a pixel: an integer of `bytes` bytes in `order`, with a field per
/// colour.
struct PixelFormat {
  struct Field {
    unsigned shift = 0, bits = 8;
  };
  unsigned bytes = 4;
  std::endian order = std::endian::little;
  Field red{16}, green{8}, blue{0};
  /// Fields of less than 8 bits are widened by repeating their high bits; otherwise by zeros.
  bool repeat_high_bits = true;
};

/// 15, 16, 24 or 32 bits a pixel as on a PC: blue in the low bits. @throws std::logic_error for
/// others
PixelFormat pc_format(unsigned bits, std::endian order);

/// What the oldest VGA has: rows then wrap around at most once.
inline constexpr std::uint64_t kLeastVideoMemory = 256 * 1024;

/// Memory of a device: a block of the stream. A page without a record is zero.
class VideoMemory {
 public:
  /// @throws Error(corrupt) if `size` is less than kLeastVideoMemory
  VideoMemory(const GuestImage& image, const RunList& pages, std::uint64_t size);

  std::uint64_t size() const { return size_; }
  /// Fills `out` with what is from `at` on; at the end of the memory it goes on at its beginning.
  /// @throws Error(io)
  void read(std::uint64_t at, std::span<std::byte> out) const;

 private:
  GuestImage view_;
  std::uint64_t size_;
};

/// A picture in memory, one row behind the other.
struct LinearFramebuffer {
  std::uint64_t width = 0, height = 0;  ///< pixels
  std::uint64_t at = 0;                 ///< of the first row, bytes from the start of the memory
  std::uint64_t stride = 0;             ///< bytes from row to row
  PixelFormat format;

  /// Bytes from the first to behind the last pixel. @throws Error(corrupt) if that overflows
  std::uint64_t bytes() const;
};

/// Draws a picture that lies within the memory.
/// @throws Error(corrupt) if it does not, or exceeds the limits; Error(io)
Canvas draw_linear(const VideoMemory& memory, const LinearFramebuffer& framebuffer);

/// The colours of a row of pixels.
void convert_row(std::span<const std::byte> pixels, const PixelFormat& format,
                 std::span<Rgb> colours);

/// An Error(corrupt) that says why there is no picture; read_screen() reports it.
[[noreturn]] void refuse_screen(const std::string& why);

}  // namespace vmconvert::qemu
