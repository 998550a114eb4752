#include "vmconvert/convert/png.h"

#include <png.h>

#include <stdexcept>
#include <string>

#include "vmconvert/base/error.h"

namespace vmconvert {

std::vector<std::byte> encode_png(const Screen& screen) {
  if (screen.width == 0 || screen.height == 0 ||
      screen.rgb.size() / 3 / screen.width != screen.height ||
      screen.rgb.size() % (std::size_t{3} * screen.width) != 0) {
    throw std::logic_error("a screen without all of its pixels");
  }
  // The simplified interface reports errors by its result: no longjmp past our destructors.
  png_image picture{};
  picture.version = PNG_IMAGE_VERSION;
  picture.width = screen.width;
  picture.height = screen.height;
  picture.format = PNG_FORMAT_RGB;
  std::vector<std::byte> file(PNG_IMAGE_PNG_SIZE_MAX(picture));
  png_alloc_size_t size = file.size();
  const int done =
      png_image_write_to_memory(&picture, file.data(), &size, 0, screen.rgb.data(), 0, nullptr);
  if (done == 0) {
    throw Error(ErrorKind::unsupported, "", std::nullopt,
                "the screen does not make a PNG: " + std::string(picture.message));
  }
  file.resize(size);
  return file;
}

}  // namespace vmconvert
