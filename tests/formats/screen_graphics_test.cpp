#include "support/screen_guest.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

using Row = std::vector<std::uint32_t>;

/// A VGA whose palette entry i is red i * 4, nothing else: what is drawn shows the index.
VgaState graphics(unsigned width_in_eights, unsigned lines) {
  VgaState state;
  state.gr[6] = 1;
  state.cr[0x01] = static_cast<std::uint8_t>(width_in_eights - 1);
  state.cr[0x12] = static_cast<std::uint8_t>(lines - 1);
  state.cr[0x09] = 0;
  state.palette.fill(0);
  for (std::size_t i = 0; i < 64; ++i) state.palette[i * 3] = static_cast<std::uint8_t>(i);
  return state;
}

/// The palette's indices of a row.
Row indices(const ReadResult& result, std::uint32_t y) {
  Row found = row(result, y);
  for (std::uint32_t& rgb : found) rgb = rgb >> 18;
  return found;
}

TEST_CASE("screen: 16 colours are a bit of each plane") {
  VgaState state = graphics(1, 2);
  ScreenGuest guest = vga_guest(state);
  guest.video(0, from_hex("80 40 20 10  00 00 00 00  01 03 07 0f"));
  const ReadResult result = guest.read();
  REQUIRE(result.error == "");
  CHECK(result.image->screen->origin == "graphics mode 8x2, 4 bits per pixel of 0000:00:02.0/vga");
  CHECK(indices(result, 0) == Row{1, 2, 4, 8, 0, 0, 0, 0});
  CHECK(indices(result, 1) == Row{0, 0, 0, 0, 8, 12, 14, 15});
  state.ar[0x12] = 0x0d;
  ScreenGuest masked = vga_guest(state);
  masked.video(0, from_hex("80 40 20 10"));
  CHECK(indices(masked.read(), 0) == Row{1, 0, 4, 8, 0, 0, 0, 0});
}

TEST_CASE("screen: at half the clock dots are doubled") {
  VgaState state = graphics(1, 1);
  state.sr[1] = 0x09;
  ScreenGuest guest = vga_guest(state);
  guest.video(0, from_hex("80 40 20 11"));
  CHECK(indices(guest.read(), 0) == Row{1, 1, 2, 2, 4, 4, 8, 8, 0, 0, 0, 0, 0, 0, 8, 8});
}

TEST_CASE("screen: lines repeat by the character's height and by scan doubling") {
  for (const unsigned scan : {0x02U, 0x80U, 0x81U}) {
    CAPTURE(scan);
    VgaState state = graphics(1, 8);
    state.cr[0x09] = static_cast<std::uint8_t>(scan);
    const std::uint32_t repeats = scan == 0x02 ? 3 : scan == 0x80 ? 2 : 4;
    ScreenGuest guest = vga_guest(state);
    for (unsigned line = 0; line < 8; ++line) {
      guest.video(line * 8, {std::byte{0xff}, static_cast<std::byte>(line % 2 * 255)});
    }
    const ReadResult result = guest.read();
    for (std::uint32_t y = 0; y < 8; ++y) {
      CHECK(indices(result, y)[0] == (y / repeats % 2 == 0 ? 1 : 3));
    }
  }
}

TEST_CASE("screen: four colours are two bits of the even planes, then of the odd ones") {
  VgaState state = graphics(1, 1);
  state.gr[5] = 0x20;
  ScreenGuest guest = vga_guest(state);
  guest.video(0, from_hex("1b e4 40 03"));
  CHECK(indices(guest.read(), 0) == Row{0 + 4, 1, 2, 3, 3, 2, 1, 0 + 12});
}

TEST_CASE("screen: the CGA's and Hercules' lines are interleaved") {
  VgaState state = graphics(1, 4);
  state.cr[0x17] = 0x02;  // bit 0: line bit 0 is address bit 14
  ScreenGuest guest = vga_guest(state);
  guest.video(0, from_hex("ff")).video(0x4000, from_hex("00 ff")).video(8, from_hex("00 00 ff"));
  const ReadResult cga = guest.read();
  CHECK(indices(cga, 0)[0] == 1);
  CHECK(indices(cga, 1)[0] == 2);
  CHECK(indices(cga, 2)[0] == 4);
  CHECK(indices(cga, 3)[0] == 0);

  state.cr[0x17] = 0x00;  // bit 1: line bit 1 is address bit 15
  ScreenGuest four = vga_guest(state);
  four.video(0, from_hex("ff")).video(0x4000, from_hex("00 ff"));
  four.video(0x8000, from_hex("00 00 ff")).video(0xc000, from_hex("00 00 00 ff"));
  const ReadResult hercules = four.read();
  for (std::uint32_t y = 0; y < 4; ++y) CHECK(indices(hercules, y)[0] == 1U << y);
}

TEST_CASE("screen: mode 13h has 256 colours and doubled dots") {
  VgaState state = graphics(1, 1);
  state.gr[5] = 0x40;
  ScreenGuest guest = vga_guest(state);
  guest.video(0, from_hex("01 3f 00 10"));
  const ReadResult result = guest.read();
  CHECK(indices(result, 0) == Row{1, 1, 63, 63, 0, 0, 16, 16});
  CHECK(result.image->screen->origin.starts_with("graphics mode 8x1, 8 bits per pixel"));
}

TEST_CASE("screen: the split goes on at address 0") {
  VgaState state = graphics(1, 4);
  state.cr[0x0d] = 16;
  state.cr[0x18] = 1;
  state.cr[0x07] = 0;
  ScreenGuest guest = vga_guest(state);
  guest.video(0, from_hex("ff")).video(64, from_hex("00 ff")).video(72, from_hex("00 00 ff"));
  const ReadResult result = guest.read();
  CHECK(indices(result, 0)[0] == 2);
  CHECK(indices(result, 1)[0] == 4);
  CHECK(indices(result, 2)[0] == 1);
  CHECK(indices(result, 3)[0] == 0);
}

TEST_CASE("screen: panning shifts to the left, until the split if the mode says so") {
  VgaState state = graphics(1, 2);
  state.ar[0x13] = 3;
  state.cr[0x18] = 0;
  state.cr[0x07] = 0;
  const auto guest = [&] {
    ScreenGuest result = vga_guest(state);
    result.video(0, from_hex("10 00 00 00 00 80 00 00"));
    return result;
  };
  CHECK(indices(guest().read(), 0) == Row{1, 0, 0, 0, 0, 2, 0, 0});
  CHECK(indices(guest().read(), 1) == Row{1, 0, 0, 0, 0, 2, 0, 0});
  state.ar[0x10] = 0x20;
  CHECK(indices(guest().read(), 1) == Row{0, 0, 0, 1, 0, 0, 0, 0});
  state.gr[5] = 0x40;  // 256 colours count in half dots
  state.ar[0x13] = 2;
  CHECK(indices(guest().read(), 0) == Row{0, 0, 0, 0, 0, 0, 0, 0});
  CHECK(indices(guest().read(), 1)[0] == 16);
}

// --- Bochs' extension --------------------------------------------------------------------------

ReadResult read_vbe(const VgaState& state, std::string_view memory, std::uint64_t at = 64,
                    bool newer = false) {
  ScreenGuest guest = vga_guest(state);
  if (newer) guest.description_head(R"("configuration": {}, )");
  return guest.video(at, from_hex(memory)).read();
}

VgaState vbe(unsigned width, unsigned height, unsigned bits) {
  VgaState state = graphics(1, 1);
  state.set_vbe(width, height, bits, 64, 128);
  return state;
}

TEST_CASE("screen: linear framebuffers of 16, 24 and 32 bits") {
  CHECK(row(read_vbe(vbe(3, 1, 16), "00 f8 e0 07 1f 00"), 0) == Row{0xff0000, 0x00ff00, 0x0000ff});
  CHECK(row(read_vbe(vbe(1, 1, 16), "21 08"), 0) == Row{0x080408});
  CHECK(row(read_vbe(vbe(2, 1, 24), "01 02 03 04 05 06"), 0) == Row{0x030201, 0x060504});
  CHECK(row(read_vbe(vbe(2, 1, 32), "01 02 03 ff 04 05 06 ff"), 0) == Row{0x030201, 0x060504});
  const ReadResult second = read_vbe(vbe(1, 2, 32), "0a 0b 0c", 64 + 128);
  CHECK(row(second, 0) == Row{0});
  CHECK(row(second, 1) == Row{0x0c0b0a});
  CHECK(second.image->screen->origin == "graphics mode 1x2, 32 bits per pixel of 0000:00:02.0/vga");
}

TEST_CASE("screen: 15 bits are widened as the QEMU that wrote the stream does") {
  CHECK(row(read_vbe(vbe(2, 1, 15), "ff 7f 21 04"), 0) == Row{0xf8f8f8, 0x080808});
  CHECK(row(read_vbe(vbe(2, 1, 15), "ff 7f 21 04", 64, true), 0) == Row{0xffffff, 0x080808});
}

TEST_CASE("screen: a guest can choose big-endian pixels") {
  VgaState state = vbe(1, 1, 32);
  state.big_endian = true;
  CHECK(row(read_vbe(state, "00 01 02 03"), 0) == Row{0x010203});
  state.set_vbe(1, 1, 24, 64, 128);
  CHECK(row(read_vbe(state, "01 02 03"), 0) == Row{0x010203});
  state.set_vbe(1, 1, 16, 64, 128);  // QEMU converts these itself, without repeating bits
  CHECK(row(read_vbe(state, "f8 1f"), 0) == Row{0xf800f8});
  state.set_vbe(1, 1, 15, 64, 128);
  CHECK(row(read_vbe(state, "7c 00", 64, true), 0) == Row{0xf80000});
}

TEST_CASE("screen: 8 bits are indices, of a palette of 6 or 8 bits") {
  VgaState state = vbe(8, 1, 8);
  CHECK(indices(read_vbe(state, "00 01 02 03 3c 3d 3e 3f"), 0) == Row{0, 1, 2, 3, 60, 61, 62, 63});
  state.vbe[4] |= 0x20;
  CHECK(pixel(read_vbe(state, "3f"), 0, 0) == 0x3f0000);
}

TEST_CASE("screen: 4 bits of the extension are planes without doubling") {
  VgaState state = vbe(8, 1, 4);
  state.sr[1] = 0x09;
  CHECK(indices(read_vbe(state, "80 40 20 11"), 0) == Row{1, 2, 4, 8, 0, 0, 0, 8});
}

TEST_CASE("screen: what reaches past the end of memory goes on at its beginning") {
  VgaState state = vbe(2, 1, 16);
  state.set_vbe(2, 1, 16, 256 * 1024 - 4, 128);
  state.vbe[1] = 3;
  CHECK(row(read_vbe(state, "ff ff", 0), 0) == Row{0, 0, 0xf8fcf8});
}

TEST_CASE("screen: pictures of impossible sizes are refused") {
  const auto refusal = [](unsigned width, unsigned height) {
    return warning(read_vbe(vbe(width, height, 8), ""));
  };
  const std::string device = "input: no screen: 0000:00:02.0/vga: a picture of ";
  CHECK(refusal(0, 1) == device + "0x1 pixels is not plausible");
  CHECK(refusal(1, 0) == device + "1x0 pixels is not plausible");
  CHECK(refusal(16385, 1) == device + "16385x1 pixels is not plausible");
  CHECK(refusal(1, 16385) == device + "1x16385 pixels is not plausible");
  CHECK(refusal(7680, 4370) == device + "7680x4370 pixels is not plausible");
  CHECK(refusal(16384, 1) == "");
  CHECK(refusal(1, 16384) == "");
}

TEST_CASE("screen: rows that overlap are refused where memory is taken as it is") {
  VgaState state = vbe(64, 64, 32);
  state.vbe_line = 4;
  CHECK(warning(read_vbe(state, "")) ==
        "input: no screen: 0000:00:02.0/vga: the picture of 64x64 pixels does not lie within its "
        "memory");
}

}  // namespace
}  // namespace vmconvert::test
