#include <algorithm>
#include <string>

#include "qemu/screen_devices.h"
#include "vmconvert/base/text.h"
#include "vmconvert/io/cursor.h"

namespace vmconvert::qemu {
namespace {

// Truth: QEMU 7.2 and 10.0, hw/display/virtio-gpu.c (virtio_gpu_save, vmstate_virtio_gpu_scanouts),
// and the virtio specification's numbers of pixel formats. Big-endian but for the pixels:
//
//   resources, ended by a zero:  u32 id, width, height, format, n; n times u64 gpa, u32 length;
//                                pixels, height rows of width times 4 bytes
//   u32 enable, u32 number of outputs, then for each output
//     u32 resource id, width, height, x, y, u32 cursor[5]; from version 2 on six u32 of a
//     framebuffer that repeats this
constexpr std::uint32_t kMostOutputs = 16;
constexpr std::uint64_t kOutputBytes = 40, kOutputBytes2 = kOutputBytes + 24;

/// The name of a format lists its bytes in memory, the first one first.
std::optional<PixelFormat> format_of(std::uint32_t number) {
  const auto little = [](unsigned red, unsigned green, unsigned blue) {
    return PixelFormat{4, std::endian::little, {red}, {green}, {blue}};
  };
  switch (number) {
    case 1:  // B8G8R8A8
    case 2:  // B8G8R8X8
      return little(16, 8, 0);
    case 3:  // A8R8G8B8
    case 4:  // X8R8G8B8
      return little(8, 16, 24);
    case 67:   // R8G8B8A8
    case 134:  // R8G8B8X8
      return little(0, 8, 16);
    case 68:   // X8B8G8R8
    case 121:  // A8B8G8R8
      return little(24, 16, 8);
    default:
      return std::nullopt;
  }
}

struct Resource {
  std::uint32_t id = 0, width = 0, height = 0, format = 0;
  FileRange pixels;
};

Resource read_resource(Cursor& cursor, std::uint32_t id) {
  Resource resource{.id = id};
  resource.width = cursor.read<std::uint32_t>("width");
  resource.height = cursor.read<std::uint32_t>("height");
  resource.format = cursor.read<std::uint32_t>("format");
  const auto pieces = cursor.read<std::uint32_t>("pieces");
  cursor.take(std::uint64_t{pieces} * 12, "pieces of guest memory");
  if (!format_of(resource.format)) {
    refuse_screen("pixel format " + std::to_string(resource.format) +
                  " of a virtio resource is not known");
  }
  resource.pixels =
      cursor.take(checked_mul(std::uint64_t{resource.width} * 4, resource.height), "pixels");
  return resource;
}

struct Output {
  std::uint32_t resource = 0, width = 0, height = 0, x = 0, y = 0;
};

Output read_first_output(Cursor& cursor) {
  cursor.read<std::uint32_t>("enable");
  const auto count = cursor.read<std::uint32_t>("outputs");
  if (count == 0 || count > kMostOutputs ||
      (cursor.remaining() != count * kOutputBytes && cursor.remaining() != count * kOutputBytes2)) {
    refuse_screen("the state of the virtio display is of a layout that is not known");
  }
  Output output;
  output.resource = cursor.read<std::uint32_t>("resource");
  output.width = cursor.read<std::uint32_t>("width");
  output.height = cursor.read<std::uint32_t>("height");
  output.x = cursor.read<std::uint32_t>("x");
  output.y = cursor.read<std::uint32_t>("y");
  return output;
}

Drawn draw_part(const ByteSource& source, const Resource& resource, const Output& output) {
  if (std::uint64_t{output.x} + output.width > resource.width ||
      std::uint64_t{output.y} + output.height > resource.height) {
    refuse_screen("the virtio display shows more than its resource has");
  }
  const PixelFormat format = *format_of(resource.format);
  Canvas canvas(output.width, output.height);
  std::vector<std::byte> bytes(std::size_t{output.width} * 4);
  std::vector<Rgb> colours(output.width);
  for (std::uint32_t y = 0; y < output.height; ++y) {
    const std::uint64_t pixel = (std::uint64_t{output.y} + y) * resource.width + output.x;
    source.read_at(resource.pixels.begin() + pixel * 4, bytes);
    convert_row(bytes, format, colours);
    canvas.set_row(y, colours);
  }
  return {std::move(canvas), "virtio resource " + std::to_string(resource.id)};
}

}  // namespace

std::optional<Drawn> draw_virtio_gpu(const ByteSource& source, FileRange state) {
  Cursor cursor(source, state, std::endian::big);
  std::vector<Resource> resources;  // each takes 20 bytes of the file at least
  while (const auto id = cursor.read<std::uint32_t>("resource")) {
    resources.push_back(read_resource(cursor, id));
  }
  const Output output = read_first_output(cursor);
  if (output.resource == 0) return std::nullopt;
  const auto shown =
      std::find_if(resources.begin(), resources.end(),
                   [&](const Resource& resource) { return resource.id == output.resource; });
  if (shown == resources.end()) {
    refuse_screen("the pixels of virtio resource " + std::to_string(output.resource) +
                  " are not in the stream: it is memory the guest shares");
  }
  return draw_part(source, *shown, output);
}

}  // namespace vmconvert::qemu
