#include "support/screen_guest.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

using Row = std::vector<std::uint32_t>;

/// What entry `i` of the tests' palette is: six bits each, the last one repeated.
std::uint32_t colour(std::uint32_t i) {
  std::uint32_t rgb = 0;
  for (std::uint32_t k = 0; k < 3; ++k) {
    const std::uint32_t six = i * 2 + k;
    rgb = rgb << 8 | (six * 4 + (six % 2 == 1 ? 3 : 0));
  }
  return rgb;
}

/// Colours of dots by name: '1' to '9' and 'a' to 'f' are entries of the palette.
Row dots(std::string_view text) {
  Row result;
  for (const char c : text) {
    result.push_back(colour(static_cast<std::uint32_t>(c <= '9' ? c - '0' : c - 'a' + 10)));
  }
  return result;
}

/// Four characters at the start of memory: A white on blue, B, line character 0xc4, and A again.
ScreenGuest text_guest(const VgaState& state, std::uint64_t font = 0) {
  ScreenGuest guest = vga_guest(state);
  guest.video(0, from_hex("41 1f 00 00  42 2e 00 00  c4 3d 00 00  41 4c 00 00"));
  const auto glyph = [&](std::uint64_t character, std::string_view rows) {
    const Bytes bytes = from_hex(rows);
    for (std::size_t y = 0; y < bytes.size(); ++y)
      guest.video(font + character * 128 + y * 4 + 2, {bytes[y]});
  };
  glyph(0x41, "80 40 20 81");
  glyph(0x42, "ff 00 0f f0");
  glyph(0xc4, "01 00 80 ff");
  return guest;
}

TEST_CASE("screen: the palette of these tests is what a VGA makes of it") {
  CHECK(colour(0) == 0x000708);
  CHECK(colour(1) == 0x080f10);
  CHECK(colour(15) == 0x787f80);
}

TEST_CASE("screen: text is drawn with the guest's font and colours") {
  const ReadResult result = text_guest({}).read();
  REQUIRE(result.error == "");
  REQUIRE(result.image->screen);
  CHECK(result.image->screen->width == 16);
  CHECK(result.image->screen->height == 8);
  CHECK(result.image->screen->origin == "text mode 2x2 of 0000:00:02.0/vga");
  CHECK(result.has_decision("screen: 16x8 pixels, text mode 2x2 of 0000:00:02.0/vga"));
  CHECK(row(result, 0) == dots("f1111111eeeeeeee"));
  CHECK(row(result, 1) == dots("1f11111122222222"));
  CHECK(row(result, 2) == dots("11f111112222eeee"));
  CHECK(row(result, 3) == dots("f111111feeee2222"));
  CHECK(row(result, 4) == dots("3333333dc4444444"));
  CHECK(row(result, 7) == dots("ddddddddc444444c"));
}

TEST_CASE("screen: nothing is drawn unless it is asked for") {
  const ReadResult result = read_bytes(text_guest({}).stream());
  REQUIRE(result.error == "");
  CHECK(!result.image->screen);
  CHECK(warning(result) == "");
}

TEST_CASE("screen: the ninth dot is background, of line characters the eighth again") {
  VgaState state;
  state.sr[1] = 0;
  state.ar[0x10] = 0x04;
  const ReadResult lines = text_guest(state).read();
  CHECK(row(lines, 3) == dots("f111111f1eeee22222"));
  CHECK(row(lines, 4) == dots("3333333ddc44444444"));
  state.ar[0x10] = 0;
  CHECK(row(text_guest(state).read(), 4) == dots("3333333d3c44444444"));
}

TEST_CASE("screen: at half the clock a dot is two wide") {
  VgaState state;
  state.sr[1] = 0x08;
  CHECK(row(text_guest(state).read(), 2) == dots("1111ff111111111122222222eeeeeeee"));
}

TEST_CASE("screen: attribute bit 3 selects the second font") {
  VgaState state;
  state.sr[3] = 0x04;  // the second font is the third map
  const ReadResult result = text_guest(state, 2 * 32768).read();
  CHECK(row(result, 0) == dots("f1111111eeeeeeee"));
  state.sr[3] = 0x01;  // the first one is
  CHECK(row(text_guest(state, 2 * 32768).read(), 0) == dots("1111111122222222"));
  state.sr[3] = 0x20;  // bit 5 is the lowest of the second font's number
  CHECK(row(text_guest(state, 32768).read(), 0) == dots("f1111111eeeeeeee"));
}

TEST_CASE("screen: the cursor is drawn between its lines unless it is off") {
  VgaState state;
  state.cr[0x0f] = 1;
  state.cr[0x0a] = 1;
  state.cr[0x0b] = 2;
  const ReadResult result = text_guest(state).read();
  CHECK(row(result, 0) == dots("f1111111eeeeeeee"));
  CHECK(row(result, 1) == dots("1f111111eeeeeeee"));
  CHECK(row(result, 2) == dots("11f11111eeeeeeee"));
  CHECK(row(result, 3) == dots("f111111feeee2222"));
  state.sr[1] = 0;  // in the ninth dot, too
  CHECK(row(text_guest(state).read(), 1) == dots("1f1111111eeeeeeeee"));
  state.cr[0x0b] = 31;  // past the cell
  CHECK(row(text_guest(state).read(), 3) == dots("f111111f1eeeeeeeee"));
  CHECK(row(text_guest(state).read(), 4) == dots("3333333d3c44444444"));
}

TEST_CASE("screen: the page begins at the start address and splits at the line compare") {
  VgaState state;
  state.cr[0x0d] = 2;
  CHECK(row(text_guest(state).read(), 0) == dots("3333333dc4444444"));
  state.cr[0x18] = 3;
  state.cr[0x07] = 0;
  const ReadResult split = text_guest(state).read();
  CHECK(row(split, 0) == dots("3333333dc4444444"));
  CHECK(row(split, 4) == dots("f1111111eeeeeeee"));
}

TEST_CASE("screen: colours come through the attribute controller") {
  VgaState state;
  state.ar[15] = 7;
  CHECK(pixel(text_guest(state).read(), 0, 0) == colour(7));
  state.ar[0x14] = 0x04;  // bits 6 and 7 of the index
  state.palette[(0x40 + 7) * 3] = 0x3f;
  CHECK(pixel(text_guest(state).read(), 0, 0) == 0xff0000);
  state.ar[0x10] = 0x80;  // bits 4 and 5 from there, too
  state.ar[0x14] = 0x01;
  state.palette[(0x10 + 7) * 3 + 1] = 0x20;
  CHECK(pixel(text_guest(state).read(), 0, 0) == 0x008000);
}

TEST_CASE("screen: a page of 100 rows is told by the frame's total") {
  VgaState state;
  state.cr[0x06] = 100;
  state.cr[0x09] = 1;
  const ReadResult result = text_guest(state).read();
  CHECK(result.image->screen->height == 200);
}

TEST_CASE("screen: text of an impossible size is refused") {
  VgaState state;
  state.cr[0x01] = 0;
  state.cr[0x12] = 3;
  CHECK(warning(text_guest(state).read()) ==
        "input: no screen: 0000:00:02.0/vga: text mode of 1x1 characters is not plausible");
  state.cr[0x01] = 255;
  state.cr[0x09] = 0;
  state.cr[0x12] = 0xff;
  state.cr[0x07] = 0x42;
  CHECK(warning(text_guest(state).read()) ==
        "input: no screen: 0000:00:02.0/vga: text mode of 256x1024 characters is not plausible");
}

TEST_CASE("screen: a blanked display has none") {
  VgaState state;
  state.ar_index = 0;
  const ReadResult result = text_guest(state).read();
  CHECK(result.error == "");
  CHECK(!result.image->screen);
  CHECK(warning(result) == "input: no screen: 0000:00:02.0/vga: the display is blanked");
}

}  // namespace
}  // namespace vmconvert::test
