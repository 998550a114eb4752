#include "vmconvert/convert/png.h"

#include <png.h>

#include <stdexcept>

#include "support/test.h"

namespace vmconvert {
namespace {

/// The pixels of a PNG file, as libpng reads them.
Screen decode(const std::vector<std::byte>& file) {
  png_image picture{};
  picture.version = PNG_IMAGE_VERSION;
  REQUIRE(png_image_begin_read_from_memory(&picture, file.data(), file.size()) != 0);
  CHECK(picture.format == PNG_FORMAT_RGB);
  picture.format = PNG_FORMAT_RGB;
  Screen screen{picture.width, picture.height, {}, ""};
  screen.rgb.resize(PNG_IMAGE_SIZE(picture));
  REQUIRE(png_image_finish_read(&picture, nullptr, screen.rgb.data(), 0, nullptr) != 0);
  return screen;
}

Screen colourful(std::uint32_t width, std::uint32_t height) {
  Screen screen{width, height, {}, ""};
  std::uint32_t state = width * 1000 + height;
  for (std::size_t i = 0; i < std::size_t{3} * width * height; ++i) {
    state = state * 1664525 + 1013904223;
    screen.rgb.push_back(static_cast<std::byte>(state >> 24));
  }
  return screen;
}

TEST_CASE("png: the picture has exactly the pixels of the screen") {
  for (const auto& [width, height] : {std::pair(1U, 1U), {1U, 700U}, {801U, 3U}, {640U, 480U}}) {
    const Screen screen = colourful(width, height);
    const Screen read = decode(encode_png(screen));
    CHECK(read.width == width);
    CHECK(read.height == height);
    CHECK(read.rgb == screen.rgb);
  }
}

TEST_CASE("png: the same screen gives the same bytes") {
  CHECK(encode_png(colourful(33, 44)) == encode_png(colourful(33, 44)));
}

TEST_CASE("png: a screen without all of its pixels is a mistake of the program") {
  Screen screen = colourful(4, 4);
  screen.rgb.pop_back();
  CHECK_THROWS_AS(encode_png(screen), std::logic_error);
  CHECK_THROWS_AS(encode_png(Screen{}), std::logic_error);
  CHECK_THROWS_AS(encode_png(Screen{1U << 31, 2, {}, ""}), std::logic_error);
}

}  // namespace
}  // namespace vmconvert
