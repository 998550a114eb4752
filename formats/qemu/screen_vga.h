#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "qemu/device_fields.h"
#include "qemu/screen_pixels.h"

namespace vmconvert::qemu {

/// The registers of a VGA that decide what it shows.
struct VgaRegisters {
  using Bytes = std::vector<std::uint8_t>;
  Bytes sequencer;  ///< at least 8
  Bytes graphics;   ///< at least 16, of Cirrus at least 7
  Bytes attribute;  ///< 21
  Bytes crtc;       ///< 256
  Bytes palette;    ///< 768
  std::uint8_t attribute_index = 0;
  std::array<std::uint16_t, 10> vbe{};  ///< Bochs' extension; zeros if there is none
  std::uint32_t vbe_start = 0;          ///< in units of 4 bytes
  std::uint32_t vbe_line_bytes = 0;
  bool big_endian_pixels = false;
  /// Of a Cirrus CLGD 54xx, which has registers of its own instead of Bochs' extension.
  bool is_cirrus = false;
  bool is_qxl = false;
  /// Of a QEMU that hands pixels of 15 bits to its user interface as they are: 10.0 does, 7.2 not.
  bool hands_15_bits_over = false;
  std::uint8_t cirrus_hidden_dac = 0;

  /// Bochs' extension decides instead of the VGA's own registers.
  bool is_vbe() const { return (vbe[4] & 1) != 0; }
  /// Lines of a frame, as the VGA's own registers have them.
  std::uint32_t crtc_lines() const {
    return (crtc[0x12] | (crtc[7] & 0x02U) << 7 | (crtc[7] & 0x40U) << 3) + 1;
  }
  /// The line after which the picture goes on at address 0.
  std::uint32_t line_compare() const {
    return crtc[0x18] | (crtc[7] & 0x10U) << 4 | (crtc[9] & 0x40U) << 3;
  }
};

/// The VGA part of a device's state; nothing if it has none.
/// @param prefix  path of the struct with the registers: "vga/", or nothing
std::optional<VgaRegisters> read_vga(const DeviceState& state, const std::string& prefix);
/// The same for a Cirrus VGA.
std::optional<VgaRegisters> read_cirrus(const DeviceState& state, const std::string& prefix);

/// A picture and, for people, the mode it is of: "text mode 80x25".
struct Drawn {
  Canvas canvas;
  std::string mode;
};

/// Colours of text and of modes with 16 colours: through the attribute controller's palette.
std::array<Rgb, 16> palette_16(const VgaRegisters& registers);

/// One of these is what the registers ask for; draw_vga() chooses.
Drawn draw_vga_text(const VgaRegisters& registers, const VideoMemory& memory);
Drawn draw_vga_graphics(const VgaRegisters& registers, const VideoMemory& memory);

/// Draws what QEMU's renderer would. Throws Error(corrupt) with the reason if that is nothing.
Drawn draw_vga(const VgaRegisters& registers, const VideoMemory& memory);

}  // namespace vmconvert::qemu
