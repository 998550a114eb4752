#include <array>
#include <bit>
#include <string>

#include "qemu/screen_devices.h"
#include "vmconvert/base/packed.h"
#include "vmconvert/base/text.h"

namespace vmconvert::qemu {
namespace {

// Truth: QEMU 7.2, hw/display/qxl.c (qxl_phys2virt, qxl_add_memslot), qxl-render.c; formats and
// physical addresses: spice-protocol, spice/qxl_dev.h and spice/enums.h.
// A qxl address: 8 bits slot, 8 bits generation, 48 bits offset in the slot, which is a part of a
// BAR.
constexpr std::uint64_t kOffsetMask = (std::uint64_t{1} << 48) - 1;

unsigned depth_of(std::uint64_t format) {
  switch (format) {
    case 16:  // 16_555
      return 15;
    case 80:  // 16_565
      return 16;
    case 32:  // 32_xRGB
    case 96:  // 32_ARGB
      return 32;
    default:
      refuse_screen("surface format " + std::to_string(format) +
                    " of the qxl display is not known");
  }
}

/// Guest addresses of the two regions slots can be in, by the PCI configuration.
struct Regions {
  std::uint64_t ram = 0;                ///< BAR 0
  std::array<std::uint64_t, 2> vram{};  ///< BAR 1, and the 64-bit BAR 4
};

Regions read_regions(const DeviceState& state) {
  const auto config = state.bytes("pci/config[0]");
  if (!config || config->size() < 256) {
    refuse_screen("the state of the display is of a layout that is not known");
  }
  const auto bar = [&](std::size_t index) {
    const auto value =
        load<std::uint32_t>(std::span(*config).subspan(0x10 + 4 * index), std::endian::little);
    return std::uint64_t{value & ~std::uint32_t{15}};
  };
  const auto high =
      load<std::uint32_t>(std::span(*config).subspan(0x10 + 4 * 5), std::endian::little);
  return {bar(0), {bar(1), bar(4) | std::uint64_t{high} << 32}};
}

}  // namespace

Drawn draw_qxl_native(const DisplayInput& input) {
  constexpr std::array<std::string_view, 1> kSecondMemory{"qxl.vram"};
  const auto value = [&](const std::string& path) {
    const auto number = input.state.number(path);
    if (!number) refuse_screen("the state of the display is of a layout that is not known");
    return *number;
  };
  const std::string surface = "guest_primary.surface/";
  LinearFramebuffer framebuffer{
      value(surface + "width"), value(surface + "height"), 0, 0,
      pc_format(depth_of(value(surface + "format")), std::endian::little)};
  const auto stride =
      std::bit_cast<std::int32_t>(static_cast<std::uint32_t>(value(surface + "stride")));
  const bool bottom_up = stride < 0;
  framebuffer.stride = static_cast<std::uint64_t>(std::int64_t{stride} < 0 ? -std::int64_t{stride}
                                                                           : std::int64_t{stride});
  const std::uint64_t address = value(surface + "mem");
  const std::string slot = "guest_slots[" + std::to_string(address >> 56) + "]/";
  if (value(slot + "active") == 0)
    refuse_screen("the primary surface of the qxl display is in no slot");
  const std::uint64_t start = value(slot + "slot.mem_start");

  const Regions regions = read_regions(input.state);
  const auto in = [&](std::uint64_t base, std::uint64_t size) {
    return base != 0 && start >= base && start - base < size;
  };
  const VideoMemory ram = video_memory(input, kVgaMemory);
  const VideoMemory vram = video_memory(input, kSecondMemory);
  std::uint64_t base = regions.ram;
  const VideoMemory* memory = &ram;
  if (!in(base, ram.size())) {
    memory = &vram;
    base = in(regions.vram[0], vram.size()) ? regions.vram[0] : regions.vram[1];
    if (!in(base, vram.size())) refuse_screen("the slot of the qxl display is not in its memory");
  }
  framebuffer.at = start - base + (address & kOffsetMask);
  Canvas canvas = draw_linear(*memory, framebuffer);
  if (bottom_up) canvas.flip();
  return {std::move(canvas), "primary surface"};
}

}  // namespace vmconvert::qemu
