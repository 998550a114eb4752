#pragma once

#include "support/screen_guest.h"

namespace vmconvert::test {

/// Two rows of two pixels of 32 bits: 030201 060504, 090807 0c0b0a.
Bytes four_pixels();

/// A Cirrus VGA with a row of eight pixels of 256 colours or more; its names for a VGA's registers,
/// and those it has more.
ScreenState cirrus_state(unsigned sr7, unsigned hidden_dac, unsigned sr12 = 0);

/// A qxl: the mode, its primary surface and slot 1.
struct QxlState {
  std::uint64_t mode = 3;
  std::uint64_t format = 32, width = 2, height = 2, stride = 8;
  std::uint64_t mem = std::uint64_t{1} << 56 | 0x10;
  std::uint64_t slot_start = 0xf4001000, active = 1;
};
ScreenGuest qxl_guest(const QxlState& state);

/// A bochs display with these ten registers.
ScreenGuest bochs_guest(const std::vector<std::uint64_t>& vbe, unsigned big_endian = 0);

/// A ramfb; `code` is the DRM format.
ScreenGuest ramfb_guest(std::uint64_t at, std::string_view code, std::uint32_t width,
                        std::uint32_t height, std::uint32_t stride);

/// A virtio GPU with two resources: 5, and 7 with the four pixels.
struct VirtioState {
  std::uint32_t format = 2, shown = 7, x = 0, y = 0, width = 2, height = 2, outputs = 1;
  std::size_t more = 0;  ///< bytes an output has more
};
Bytes virtio_payload(const VirtioState& state);
ScreenGuest gpu_guest(const Bytes& payload);

}  // namespace vmconvert::test
