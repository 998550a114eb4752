#include "qemu/screen_devices.h"

#include <algorithm>
#include <array>

#include "qemu/guest_blocks.h"
#include "vmconvert/base/packed.h"
#include "vmconvert/base/text.h"

namespace vmconvert::qemu {
namespace {

/// "0000:00:02.0/" of "0000:00:02.0/vga"; nothing of "vga".
std::string_view folder_of(std::string_view idstr) {
  const std::size_t slash = idstr.rfind('/');
  return slash == std::string_view::npos ? "" : idstr.substr(0, slash + 1);
}

[[noreturn]] void refuse_layout() {
  refuse_screen("the state of the display is of a layout that is not known");
}

// --- VGA ---------------------------------------------------------------------------------------

Drawn draw_registers(const DisplayInput& input, std::optional<VgaRegisters> registers) {
  if (!registers) refuse_layout();
  registers->hands_15_bits_over = input.fields.has_configuration();
  return draw_vga(*registers, video_memory(input, kVgaMemory));
}

/// The registers are a struct of PCI and virtio devices' state, and all of the state of ISA's.
Drawn draw_standard(const DisplayInput& input) {
  return draw_registers(input, read_vga(input.state, input.state.has("vga/cr") ? "vga/" : ""));
}

Drawn draw_cirrus(const DisplayInput& input) {
  const std::string prefix = input.state.has("cirrus_vga/vga.cr") ? "cirrus_vga/" : "";
  const auto registers = read_cirrus(input.state, prefix);
  if (registers && (registers->sequencer[0x12] & 1) != 0) {
    // Its colours are not part of the state.
    input.diagnostics.decision(input.image.sources.front()->name(),
                               "the screen's hardware cursor is not drawn");
  }
  return draw_registers(input, registers);
}

Drawn draw_vmware(const DisplayInput& input) {
  const auto enable = input.state.number("chip/enable"), config = input.state.number("chip/config");
  if (!enable || !config) refuse_layout();
  if (*enable != 0 && *config != 0) {
    refuse_screen("the VMware display is in its own mode, which is not supported");
  }
  // Its VGA part has a section of its own, without a path.
  const auto found =
      std::find_if(input.stream.sections.begin(), input.stream.sections.end(),
                   [](const DeviceSection& section) { return section.idstr == "vga"; });
  if (found == input.stream.sections.end()) refuse_screen("the VGA part of the display is missing");
  const DeviceField* root = input.fields.find(found->idstr, found->instance_id);
  if (root == nullptr) refuse_layout();
  const DeviceState vga(*input.image.sources.front(), *found, *root);
  return draw_registers(input, read_vga(vga, ""));
}

Drawn draw_qxl(const DisplayInput& input) {
  constexpr std::uint64_t kUndefined = 0, kVga = 1;
  const auto mode = input.state.number("mode");
  if (!mode) refuse_layout();
  if (*mode == kUndefined) refuse_screen("the guest has not set a mode of the qxl display");
  if (*mode != kVga) return draw_qxl_native(input);
  auto registers = read_vga(input.state, "vga/");
  if (registers) registers->is_qxl = true;
  return draw_registers(input, registers);
}

// --- virtio ------------------------------------------------------------------------------------

std::optional<Drawn> draw_scanout(const DisplayInput& input, const DeviceSection& section) {
  const DeviceField* root = input.fields.find(section.idstr, section.instance_id);
  if (root == nullptr) refuse_layout();
  const DeviceState state(*input.image.sources.front(), section, *root);
  const auto place = state.range("virtio-gpu");
  if (!place) refuse_layout();
  return draw_virtio_gpu(*input.image.sources.front(), *place);
}

Drawn draw_gpu(const DisplayInput& input) {
  auto drawn = draw_scanout(input, input.section);
  if (!drawn) refuse_screen("the guest has not initialised the virtio display");
  return std::move(*drawn);
}

/// The GPU part has a section of its own, in the same folder. Until the guest uses it, the VGA is
/// shown.
Drawn draw_virtio_vga(const DisplayInput& input) {
  const std::string name = std::string(folder_of(input.section.idstr)) + "virtio-gpu";
  for (const DeviceSection& section : input.stream.sections) {
    if (section.idstr != name) continue;
    if (auto drawn = draw_scanout(input, section)) return std::move(*drawn);
  }
  return draw_standard(input);
}

// --- linear framebuffers -----------------------------------------------------------------------

/// hw/display/bochs-display.c: Bochs' registers without a VGA.
Drawn draw_bochs(const DisplayInput& input) {
  constexpr std::array<std::string_view, 1> kMemory{"bochs-display-vram"};
  const auto vbe = input.state.numbers("vbe_regs");
  if (!vbe || vbe->size() < 10) refuse_layout();
  if (((*vbe)[4] & 1) == 0) refuse_screen("the guest has not switched the bochs display on");
  const std::uint64_t bits = (*vbe)[3];
  if (bits != 16 && bits != 32) {
    refuse_screen("the bochs display does not show " + std::to_string(bits) + " bits per pixel");
  }
  const bool big = bits == 32 && input.state.number("big_endian_fb").value_or(0) != 0;
  LinearFramebuffer framebuffer;
  framebuffer.width = (*vbe)[1];
  framebuffer.height = (*vbe)[2];
  framebuffer.format =
      pc_format(static_cast<unsigned>(bits), big ? std::endian::big : std::endian::little);
  const std::uint64_t bytes = framebuffer.format.bytes;
  framebuffer.stride = std::max((*vbe)[6], framebuffer.width) * bytes;
  framebuffer.at = (*vbe)[8] * bytes + (*vbe)[9] * framebuffer.stride;
  return {draw_linear(video_memory(input, kMemory), framebuffer),
          "framebuffer of " + std::to_string(bits) + " bits per pixel"};
}

struct FourCc {
  std::string_view code;
  PixelFormat format;
};

/// ui/qemu-pixman.c, the formats that QEMU takes from its firmware's driver.
const PixelFormat* find_fourcc(std::uint32_t code) {
  static const std::array<FourCc, 6> known{{
      {"RG16", {2, std::endian::little, {11, 5}, {5, 6}, {0, 5}}},
      {"XR24", {4, std::endian::little, {16}, {8}, {0}}},
      {"AR24", {4, std::endian::little, {16}, {8}, {0}}},
      {"XB24", {4, std::endian::little, {0}, {8}, {16}}},
      {"AB24", {4, std::endian::little, {0}, {8}, {16}}},
      {"RG24", {3, std::endian::little, {16}, {8}, {0}}},
  }};
  for (const FourCc& entry : known) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      value |= static_cast<std::uint32_t>(static_cast<unsigned char>(entry.code[i])) << (8 * i);
    }
    if (value == code) return &entry.format;
  }
  return nullptr;
}

/// hw/display/ramfb.c. Its 28 bytes are as the guest wrote them: be64 address, be32 format code,
/// flags, width, height, stride. Until 8.1 they were not saved.
Drawn draw_ramfb(const DisplayInput& input) {
  const auto config = input.state.bytes("state/cfg");
  if (!config || config->size() != 28) refuse_layout();
  const auto word = [&](std::size_t at) {
    return load<std::uint32_t>(std::span(*config).subspan(at), std::endian::big);
  };
  const GuestPhysAddr at{load<std::uint64_t>(*config, std::endian::big)};
  LinearFramebuffer framebuffer;
  framebuffer.width = word(16);
  framebuffer.height = word(20);
  if (framebuffer.width == 0 || framebuffer.height == 0)
    refuse_screen("the guest has not set up the ramfb display");
  const PixelFormat* format = find_fourcc(word(8));
  if (format == nullptr) refuse_screen("the pixel format of the ramfb display is not known");
  framebuffer.format = *format;
  framebuffer.stride = word(24);
  if (framebuffer.stride == 0) framebuffer.stride = framebuffer.width * format->bytes;

  Canvas canvas(framebuffer.width, framebuffer.height);
  std::vector<std::byte> bytes(static_cast<std::size_t>(framebuffer.width * format->bytes));
  std::vector<Rgb> colours(canvas.width());
  for (std::uint32_t y = 0; y < canvas.height(); ++y) {
    if (!read_guest(input.image, at + y * framebuffer.stride, bytes)) {
      refuse_screen("the framebuffer at guest address " + hex(at.value) +
                    " lies outside guest memory");
    }
    convert_row(bytes, *format, colours);
    canvas.set_row(y, colours);
  }
  return {std::move(canvas), "framebuffer at guest address " + hex(at.value)};
}

}  // namespace

const DisplayKind* find_display_kind(std::string_view idstr) {
  static constexpr std::array kinds{
      DisplayKind{"vga", true, draw_standard},
      DisplayKind{"cirrus_vga", true, draw_cirrus},
      DisplayKind{"qxl", true, draw_qxl},
      DisplayKind{"virtio-vga", true, draw_virtio_vga},
      DisplayKind{"vmware_vga", true, draw_vmware},
      DisplayKind{"virtio-gpu", false, draw_gpu},
      DisplayKind{"bochs-display", false, draw_bochs},
      DisplayKind{"ramfb-dev", false, draw_ramfb},
  };
  const std::string_view name = idstr.substr(folder_of(idstr).size());
  const auto found = std::find_if(kinds.begin(), kinds.end(),
                                  [&](const DisplayKind& kind) { return kind.section == name; });
  return found == kinds.end() ? nullptr : &*found;
}

VideoMemory video_memory(const DisplayInput& input, std::span<const std::string_view> names) {
  const std::string folder(folder_of(input.section.idstr));
  for (const std::string& place : {folder, std::string()}) {
    for (const std::string_view name : names) {
      const auto block = find_block(input.stream.blocks, place + std::string(name));
      if (!block) continue;
      const RamBlock& found = input.stream.blocks[*block];
      if (found.records == 0 && input.stream.ram_format.ignore_shared) {
        refuse_screen("the content of memory block " + quoted(found.name) +
                      " is not in the stream");
      }
      return {input.image, input.blocks[*block], found.used_length};
    }
  }
  refuse_screen("the stream has no memory block " + quoted(names.front()));
}

}  // namespace vmconvert::qemu
