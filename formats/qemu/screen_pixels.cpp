#include "qemu/screen_pixels.h"

#include <algorithm>
#include <stdexcept>

#include "vmconvert/base/address.h"
#include "vmconvert/base/error.h"
#include "vmconvert/base/packed.h"
#include "vmconvert/base/text.h"

namespace vmconvert::qemu {
namespace {

std::uint8_t widen(std::uint32_t pixel, PixelFormat::Field field, bool repeat) {
  const std::uint32_t value = (pixel >> field.shift) & ((1U << field.bits) - 1);
  const unsigned missing = 8 - field.bits;
  const std::uint32_t low = repeat && missing != 0 ? value >> (field.bits - missing) : 0;
  return static_cast<std::uint8_t>(value << missing | low);
}

std::uint32_t load_pixel(std::span<const std::byte> bytes, const PixelFormat& format) {
  switch (format.bytes) {
    case 2:
      return load<std::uint16_t>(bytes, format.order);
    case 4:
      return load<std::uint32_t>(bytes, format.order);
    default: {
      const auto byte = [&](std::size_t i) { return std::to_integer<std::uint32_t>(bytes[i]); };
      return format.order == std::endian::little ? byte(0) | byte(1) << 8 | byte(2) << 16
                                                 : byte(2) | byte(1) << 8 | byte(0) << 16;
    }
  }
}

}  // namespace

void refuse_screen(const std::string& why) {
  throw Error(ErrorKind::corrupt, "", std::nullopt, why);
}

Canvas::Canvas(std::uint64_t width, std::uint64_t height) {
  if (width == 0 || height == 0 || width > kLargestSide || height > kLargestSide ||
      width * height > kMostPixels) {
    refuse_screen("a picture of " + std::to_string(width) + "x" + std::to_string(height) +
                  " pixels is not plausible");
  }
  screen_.width = static_cast<std::uint32_t>(width);
  screen_.height = static_cast<std::uint32_t>(height);
  screen_.rgb.resize(static_cast<std::size_t>(width * height * 3));
}

void Canvas::set(std::uint32_t x, std::uint32_t y, Rgb colour) {
  if (x >= width() || y >= height()) throw std::logic_error("a pixel outside the picture");
  const std::size_t at = (std::size_t{y} * width() + x) * 3;
  screen_.rgb[at] = std::byte{colour.red};
  screen_.rgb[at + 1] = std::byte{colour.green};
  screen_.rgb[at + 2] = std::byte{colour.blue};
}

void Canvas::set_row(std::uint32_t y, std::span<const Rgb> colours) {
  if (y >= height()) throw std::logic_error("a row outside the picture");
  auto out = screen_.rgb.begin() + static_cast<std::ptrdiff_t>(std::size_t{y} * width() * 3);
  for (const Rgb colour : colours.first(std::min<std::size_t>(colours.size(), width()))) {
    *out++ = std::byte{colour.red};
    *out++ = std::byte{colour.green};
    *out++ = std::byte{colour.blue};
  }
}

void Canvas::flip() {
  const auto row_bytes = static_cast<std::ptrdiff_t>(width()) * 3;
  auto upper = screen_.rgb.begin();
  auto lower = screen_.rgb.end() - row_bytes;
  for (; upper < lower; upper += row_bytes, lower -= row_bytes) {
    std::swap_ranges(upper, upper + row_bytes, lower);
  }
}

Screen Canvas::finish(std::string origin) && {
  screen_.origin = std::move(origin);
  return std::move(screen_);
}

PixelFormat pc_format(unsigned bits, std::endian order) {
  switch (bits) {
    case 15:
      return {2, order, {10, 5}, {5, 5}, {0, 5}};
    case 16:
      return {2, order, {11, 5}, {5, 6}, {0, 5}};
    case 24:
      return {3, order};
    case 32:
      return {4, order};
    default:
      throw std::logic_error("no such pixel format");
  }
}

VideoMemory::VideoMemory(const GuestImage& image, const RunList& pages, std::uint64_t size)
    : size_(size) {
  if (size < kLeastVideoMemory) {
    refuse_screen("the display's memory of " + human_size(size) + " is too small to be one");
  }
  view_.sources = image.sources;
  view_.runs = pages;
}

void VideoMemory::read(std::uint64_t at, std::span<std::byte> out) const {
  const std::uint64_t page = view_.runs.page_size();
  at %= size_;
  while (!out.empty()) {
    const std::uint64_t to_border = std::min(page - at % page, size_ - at);
    const auto part = out.first(std::min<std::size_t>(out.size(), to_border));
    if (!read_guest(view_, {at}, part)) std::fill(part.begin(), part.end(), std::byte{0});
    out = out.subspan(part.size());
    at += part.size();
    if (at == size_) at = 0;
  }
}

std::uint64_t LinearFramebuffer::bytes() const {
  if (height == 0) return 0;
  return checked_add(checked_mul(stride, height - 1), checked_mul(width, format.bytes));
}

Canvas draw_linear(const VideoMemory& memory, const LinearFramebuffer& framebuffer) {
  Canvas canvas(framebuffer.width, framebuffer.height);
  const std::uint64_t row_bytes = framebuffer.width * framebuffer.format.bytes;
  // Rows that overlap would let a small memory make a large picture.
  const bool overlap = framebuffer.height > 1 && framebuffer.stride < row_bytes;
  if (overlap || framebuffer.bytes() > memory.size() ||
      framebuffer.at > memory.size() - framebuffer.bytes()) {
    refuse_screen("the picture of " + std::to_string(canvas.width()) + "x" +
                  std::to_string(canvas.height()) + " pixels does not lie within its memory");
  }
  std::vector<std::byte> bytes(static_cast<std::size_t>(row_bytes));
  std::vector<Rgb> colours(canvas.width());
  for (std::uint32_t y = 0; y < canvas.height(); ++y) {
    memory.read(framebuffer.at + y * framebuffer.stride, bytes);
    convert_row(bytes, framebuffer.format, colours);
    canvas.set_row(y, colours);
  }
  return canvas;
}

void convert_row(std::span<const std::byte> pixels, const PixelFormat& format,
                 std::span<Rgb> colours) {
  for (std::size_t x = 0; x < colours.size(); ++x) {
    const std::uint32_t pixel = load_pixel(pixels.subspan(x * format.bytes), format);
    colours[x] = {widen(pixel, format.red, format.repeat_high_bits),
                  widen(pixel, format.green, format.repeat_high_bits),
                  widen(pixel, format.blue, format.repeat_high_bits)};
  }
}

}  // namespace vmconvert::qemu
