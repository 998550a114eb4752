#include "support/display_states.h"

#include <algorithm>

namespace vmconvert::test {
namespace {

ScreenState qxl(const QxlState& qxl) {
  Bytes config(256);
  const Bytes bars = from_hex("08 00 00 f4  00 00 00 f8  00 00 00 fc  00 00 00 00 0c 00 00 e0 01");
  std::copy(bars.begin(), bars.end(), config.begin() + 0x10);
  ScreenState surface;
  surface.number("width", qxl.width, 4).number("height", qxl.height, 4);
  surface.number("stride", qxl.stride, 4).number("format", qxl.format, 4);
  surface.number("mem", qxl.mem, 8);
  const auto slot = [](std::uint64_t start, std::uint64_t active) {
    return ScreenState().number("slot.mem_start", start, 8).number("active", active, 4);
  };
  ScreenState state;
  state.structure("pci", ScreenState().bytes("config[0]", config));
  state.structure("vga", VgaState().described()).number("mode", qxl.mode, 4);
  state.structures("guest_slots", {slot(0, 0), slot(qxl.slot_start, qxl.active)});
  return state.structure("guest_primary.surface", surface);
}

}  // namespace

Bytes four_pixels() { return from_hex("01 02 03 00 04 05 06 00 07 08 09 00 0a 0b 0c 00"); }

ScreenState cirrus_state(unsigned sr7, unsigned hidden_dac, unsigned sr12) {
  VgaState vga;
  vga.gr[6] = 1;
  vga.gr[5] = 0x40;
  vga.cr[0x09] = 0;
  vga.cr[0x01] = 0;
  vga.cr[0x12] = 0;
  vga.cr[0x13] = 4;
  vga.palette[3] = 0x3f;
  Bytes sr(256);
  sr[7] = static_cast<std::byte>(sr7);
  sr[0x12] = static_cast<std::byte>(sr12);
  Bytes gr(254);  // from the third register on
  gr[5 - 2] = static_cast<std::byte>(vga.gr[5]);
  gr[6 - 2] = static_cast<std::byte>(vga.gr[6]);
  const auto bytes = [](const auto& values) {
    Bytes result;
    for (const std::uint8_t value : values) result.push_back(std::byte{value});
    return result;
  };
  ScreenState state;
  state.bytes("vga.sr", sr).bytes("vga.gr", gr).number("vga.ar_index", 0x20, 1);
  state.bytes("vga.ar", bytes(vga.ar)).bytes("vga.cr", bytes(vga.cr));
  state.bytes("vga.palette", bytes(vga.palette));
  state.number("cirrus_hidden_dac_data", hidden_dac, 1);
  return ScreenState().structure("cirrus_vga", state);
}

ScreenGuest qxl_guest(const QxlState& state) {
  ScreenGuest guest("0000:00:02.0/vga.vram");
  guest.block("0000:00:02.0/qxl.vram", 256 * 1024);
  return guest.device("0000:00:02.0/qxl", qxl(state));
}

ScreenGuest bochs_guest(const std::vector<std::uint64_t>& vbe, unsigned big_endian) {
  ScreenGuest guest("0000:00:02.0/bochs-display-vram");
  return guest.device(
      "0000:00:02.0/bochs-display",
      ScreenState().array("vbe_regs", vbe, 2).number("big_endian_fb", big_endian, 1));
}

ScreenGuest ramfb_guest(std::uint64_t at, std::string_view code, std::uint32_t width,
                        std::uint32_t height, std::uint32_t stride) {
  ByteWriter config;
  config.be64(at);
  for (const char c : std::string(code.rbegin(), code.rend()))
    config.u8(static_cast<unsigned char>(c));
  config.be32(0).be32(width).be32(height).be32(stride);
  ScreenGuest guest;
  return guest.device("ramfb-dev", ScreenState().structure(
                                       "state", ScreenState().bytes("cfg", config.bytes())));
}

Bytes virtio_payload(const VirtioState& state) {
  ByteWriter out;
  out.be32(5).be32(1).be32(1).be32(1).be32(0).fill(4, 0xee);
  out.be32(7).be32(2).be32(2).be32(state.format).be32(2).fill(2 * 12, 0xdd).append(four_pixels());
  out.be32(0).be32(1).be32(state.outputs);
  out.be32(state.shown).be32(state.width).be32(state.height).be32(state.x).be32(state.y);
  return out.fill(20 + state.more).bytes();
}

ScreenGuest gpu_guest(const Bytes& payload) {
  ScreenGuest guest;
  return guest.device(
      "0000:00:02.0/virtio-gpu",
      ScreenState().bytes("virtio", Bytes(100), "virtio").bytes("virtio-gpu", payload));
}

}  // namespace vmconvert::test
