#include "support/display_states.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

using Row = std::vector<std::uint32_t>;

VgaState text_state() { return {}; }

std::string refusal(const ScreenGuest& guest) {
  const ReadResult result = guest.read();
  CHECK(result.error == "");
  CHECK((!result.image || !result.image->screen));
  return warning(result);
}

// --- which display -----------------------------------------------------------------------------

TEST_CASE("screen: a stream without a known display has none") {
  CHECK(refusal(ScreenGuest()) ==
        "input: no screen: the stream has no display device that is known");
  CHECK(refusal(ScreenGuest().device("sm501", ScreenState().number("a", 0, 4))) ==
        "input: no screen: the stream has no display device that is known");
}

TEST_CASE("screen: without the description nothing is known of the state") {
  CHECK(
      refusal(vga_guest(text_state()).no_description()) ==
      "input: no screen: 0000:00:02.0/vga: needs the device description, which this stream lacks");
}

TEST_CASE("screen: a state without the registers is refused") {
  ScreenGuest guest;
  guest.device("0000:00:02.0/vga", ScreenState().number("a", 0, 4));
  CHECK(refusal(guest) ==
        "input: no screen: 0000:00:02.0/vga: the state of the display is of a layout that is not "
        "known");
}

TEST_CASE("screen: the display's memory is found by its name") {
  const ScreenState vga = ScreenState().structure("vga", text_state().described());
  const auto with = [&](const std::string& block, std::uint64_t size = 256 * 1024) {
    ScreenGuest guest(block, size);
    return guest.device("0000:00:02.0/vga", vga);
  };
  for (const char* block :
       {"0000:00:02.0/vga.vram", "vga.vram", "qxl.vgavram", "0000:00:02.0/qxl.vgavram"}) {
    CAPTURE(block);
    CHECK(with(block).read().image->screen);
  }
  CHECK(refusal(with("0000:00:03.0/vga.vram")) ==
        "input: no screen: 0000:00:02.0/vga: the stream has no memory block \"vga.vram\"");
  CHECK(refusal(with("vga.vram", 252 * 1024)) ==
        "input: no screen: 0000:00:02.0/vga: the display's memory of 252 KiB is too small to be "
        "one");
}

TEST_CASE("screen: the first VGA is the primary display, others are named") {
  ScreenGuest guest;
  guest.device("ramfb-dev", ScreenState().number("a", 0, 4));
  guest.device("0000:00:02.0/vga", ScreenState().structure("vga", text_state().described()));
  guest.device("0000:00:03.0/vga", ScreenState().number("a", 0, 4));
  const ReadResult result = guest.read();
  CHECK(result.image->screen->origin == "text mode 2x2 of 0000:00:02.0/vga");
  CHECK(result.has_decision("there is another display, ramfb-dev, which is not looked at"));
  CHECK(result.has_decision("there is another display, 0000:00:03.0/vga, which is not looked at"));
}

// --- VGAs with more ----------------------------------------------------------------------------

TEST_CASE("screen: an ISA VGA's state is the registers alone") {
  ScreenGuest guest("vga.vram");
  guest.device("vga", text_state().described());
  CHECK(guest.read().image->screen->origin == "text mode 2x2 of vga");
}

ScreenState vmware(std::uint64_t enable, std::uint64_t config) {
  return ScreenState().structure(
      "chip", ScreenState().number("enable", enable, 4).number("config", config, 4));
}

TEST_CASE("screen: VMware's display is its VGA until the guest switches it over") {
  ScreenGuest guest;
  guest.device("vga", text_state().described()).device("0000:00:02.0/vmware_vga", vmware(1, 0));
  CHECK(guest.read().image->screen->origin == "text mode 2x2 of 0000:00:02.0/vmware_vga");
  ScreenGuest own;
  own.device("vga", text_state().described()).device("0000:00:02.0/vmware_vga", vmware(1, 1));
  CHECK(
      refusal(own) ==
      "input: no screen: 0000:00:02.0/vmware_vga: the VMware display is in its own mode, which is "
      "not supported");
  ScreenGuest alone;
  alone.device("0000:00:02.0/vmware_vga", vmware(0, 0));
  CHECK(refusal(alone) ==
        "input: no screen: 0000:00:02.0/vmware_vga: the VGA part of the display is missing");
}

ReadResult read_cirrus(const ScreenState& state, std::string_view memory) {
  ScreenGuest guest;
  return guest.device("0000:00:02.0/cirrus_vga", state).video(0, from_hex(memory)).read();
}

TEST_CASE("screen: Cirrus tells the depth by registers of its own") {
  const std::string device = " of 0000:00:02.0/cirrus_vga";
  const ReadResult vga = read_cirrus(cirrus_state(0, 0), "01");
  CHECK(row(vga, 0) ==
        Row{0xff0f10, 0xff0f10, 0x000708, 0x000708, 0x000708, 0x000708, 0x000708, 0x000708});
  const ReadResult eight = read_cirrus(cirrus_state(0x01, 0), "00 01");
  CHECK(pixel(eight, 1, 0) == 0xff0f10);
  CHECK(eight.image->screen->origin == "graphics mode 8x1, 8 bits per pixel" + device);
  CHECK(pixel(read_cirrus(cirrus_state(0x07, 0xf0), "00 7c"), 0, 0) == 0xf80000);
  CHECK(pixel(read_cirrus(cirrus_state(0x07, 0xf1), "00 f8"), 0, 0) == 0xff0000);
  CHECK(pixel(read_cirrus(cirrus_state(0x05, 0), "01 02 03"), 0, 0) == 0x030201);
  CHECK(pixel(read_cirrus(cirrus_state(0x09, 0), "01 02 03 00"), 0, 0) == 0x030201);
}

TEST_CASE("screen: the hardware cursor of a Cirrus is told about") {
  CHECK(read_cirrus(cirrus_state(0x01, 0, 0x01), "01")
            .has_decision("the screen's hardware cursor is not drawn"));
}

// --- qxl ---------------------------------------------------------------------------------------

const Bytes kPixels = four_pixels();

TEST_CASE("screen: a qxl shows its VGA, or its primary surface") {
  CHECK(qxl_guest({.mode = 1}).read().image->screen->origin == "text mode 2x2 of 0000:00:02.0/qxl");
  const ReadResult result = qxl_guest({}).video(0x1010, kPixels).read();
  REQUIRE(result.image->screen);
  CHECK(row(result, 0) == Row{0x030201, 0x060504});
  CHECK(row(result, 1) == Row{0x090807, 0x0c0b0a});
  CHECK(result.image->screen->origin == "primary surface of 0000:00:02.0/qxl");
  const ReadResult flipped = qxl_guest({.stride = 0xfffffff8}).video(0x1010, kPixels).read();
  CHECK(row(flipped, 0) == Row{0x090807, 0x0c0b0a});
  CHECK(row(flipped, 1) == Row{0x030201, 0x060504});
  CHECK(row(qxl_guest({.format = 80, .stride = 4}).video(0x1010, from_hex("00 f8")).read(), 0)[0] ==
        0xff0000);
}

TEST_CASE("screen: the slot of a qxl surface can be in each of its regions") {
  for (const std::uint64_t start : {0xf8001000ULL, 0x1e0001000ULL}) {
    CHECK(qxl_guest({.slot_start = start}).read().image->screen);
  }
  const std::string device = "input: no screen: 0000:00:02.0/qxl: ";
  CHECK(refusal(qxl_guest({.slot_start = 0xf4040000})) ==
        device + "the slot of the qxl display is not in its memory");
  CHECK(refusal(qxl_guest({.mem = std::uint64_t{1} << 56 | 0xfffff})) ==
        device + "the picture of 2x2 pixels does not lie within its memory");
}

TEST_CASE("screen: a qxl without a usable surface is refused") {
  const std::string device = "input: no screen: 0000:00:02.0/qxl: ";
  CHECK(refusal(qxl_guest({.mode = 0})) ==
        device + "the guest has not set a mode of the qxl display");
  CHECK(refusal(qxl_guest({.format = 7})) ==
        device + "surface format 7 of the qxl display is not known");
  CHECK(refusal(qxl_guest({.active = 0})) ==
        device + "the primary surface of the qxl display is in no slot");
  CHECK(refusal(qxl_guest({.mem = std::uint64_t{9} << 56})) ==
        device + "the state of the display is of a layout that is not known");
  CHECK(refusal(qxl_guest({.stride = 0x80000000})) ==
        device + "the picture of 2x2 pixels does not lie within its memory");
}

// --- framebuffers ------------------------------------------------------------------------------

TEST_CASE("screen: a bochs display shows a part of a virtual picture") {
  // Width, height, depth, on, bank, virtual width and height, offsets.
  ScreenGuest guest = bochs_guest({0, 2, 2, 32, 1, 0, 4, 0, 1, 1});
  const ReadResult result = guest.video(16 + 4, kPixels).read();
  CHECK(row(result, 0) == Row{0x030201, 0x060504});
  CHECK(row(result, 1) == Row{0, 0});
  CHECK(result.image->screen->origin ==
        "framebuffer of 32 bits per pixel of 0000:00:02.0/bochs-display");
  CHECK(
      row(bochs_guest({0, 2, 1, 32, 1, 0, 0, 0, 0, 0}, 1).video(0, from_hex("00 01 02 03")).read(),
          0) == Row{0x010203, 0});
  CHECK(row(bochs_guest({0, 1, 1, 16, 1, 0, 0, 0, 0, 0}, 1).video(0, from_hex("00 f8")).read(),
            0) == Row{0xff0000});
}

TEST_CASE("screen: a bochs display that shows nothing is refused") {
  const std::string device = "input: no screen: 0000:00:02.0/bochs-display: ";
  CHECK(refusal(bochs_guest({0, 2, 2, 32, 0, 0, 4, 0, 0, 0})) ==
        device + "the guest has not switched the bochs display on");
  CHECK(refusal(bochs_guest({0, 2, 2, 8, 1, 0, 4, 0, 0, 0})) ==
        device + "the bochs display does not show 8 bits per pixel");
  CHECK(refusal(bochs_guest({0, 512, 129, 32, 1, 0, 0, 0, 0, 0})) ==
        device + "the picture of 512x129 pixels does not lie within its memory");
  CHECK(refusal(bochs_guest({0, 1})) ==
        device + "the state of the display is of a layout that is not known");
}

TEST_CASE("screen: ramfb shows guest memory") {
  const ReadResult result = ramfb_guest(0x2000, "XR24", 2, 2, 16).guest(0x2000, kPixels).read();
  CHECK(row(result, 0) == Row{0x030201, 0x060504});
  CHECK(row(result, 1) == Row{0, 0});
  CHECK(result.image->screen->origin == "framebuffer at guest address 0x2000 of ramfb-dev");
  CHECK(row(ramfb_guest(0x2000, "XB24", 2, 2, 0).guest(0x2000, kPixels).read(), 1) ==
        Row{0x070809, 0x0a0b0c});
  CHECK(row(ramfb_guest(0x2000, "RG16", 1, 1, 0).guest(0x2000, from_hex("00 f8")).read(), 0) ==
        Row{0xff0000});
}

TEST_CASE("screen: a ramfb that shows nothing is refused") {
  const std::string device = "input: no screen: ramfb-dev: ";
  CHECK(refusal(ramfb_guest(0, "XR24", 0, 0, 0)) ==
        device + "the guest has not set up the ramfb display");
  CHECK(refusal(ramfb_guest(0, "NV12", 1, 1, 0)) ==
        device + "the pixel format of the ramfb display is not known");
  CHECK(refusal(ramfb_guest(0xfffc, "XR24", 2, 1, 0)) ==
        device + "the framebuffer at guest address 0xfffc lies outside guest memory");
  CHECK(refusal(ramfb_guest(~std::uint64_t{0}, "XR24", 1, 2, 16)).starts_with(device));
}

// --- virtio ------------------------------------------------------------------------------------

TEST_CASE("screen: a virtio GPU's pixels are in its state") {
  for (const std::size_t more : {0U, 24U}) {
    const ReadResult result = gpu_guest(virtio_payload({.more = more})).read();
    REQUIRE(result.image->screen);
    CHECK(row(result, 0) == Row{0x030201, 0x060504});
    CHECK(row(result, 1) == Row{0x090807, 0x0c0b0a});
    CHECK(result.image->screen->origin == "virtio resource 7 of 0000:00:02.0/virtio-gpu");
  }
  const ReadResult part =
      gpu_guest(virtio_payload({.x = 1, .y = 1, .width = 1, .height = 1})).read();
  CHECK(row(part, 0) == Row{0x0c0b0a});
}

TEST_CASE("screen: formats of a virtio GPU name their bytes in order") {
  const std::vector<std::pair<std::uint32_t, std::uint32_t>> formats{
      {1, 0x030201},  {2, 0x030201},   {3, 0x020300},  {4, 0x020300},
      {67, 0x010203}, {134, 0x010203}, {68, 0x000302}, {121, 0x000302}};
  for (const auto& [format, expected] : formats) {
    CAPTURE(format);
    CHECK(pixel(gpu_guest(virtio_payload({.format = format})).read(), 0, 0) == expected);
  }
}

TEST_CASE("screen: a virtio GPU that shows nothing of its state is refused") {
  const std::string device = "input: no screen: 0000:00:02.0/virtio-gpu: ";
  CHECK(refusal(gpu_guest(virtio_payload({.shown = 0}))) ==
        device + "the guest has not initialised the virtio display");
  CHECK(refusal(gpu_guest(virtio_payload({.shown = 6}))) ==
        device +
            "the pixels of virtio resource 6 are not in the stream: it is memory the guest shares");
  CHECK(refusal(gpu_guest(virtio_payload({.format = 5}))) ==
        device + "pixel format 5 of a virtio resource is not known");
  CHECK(refusal(gpu_guest(virtio_payload({.x = 1}))) ==
        device + "the virtio display shows more than its resource has");
  CHECK(refusal(gpu_guest(virtio_payload({.x = 0xffffffff}))) ==
        device + "the virtio display shows more than its resource has");
  CHECK(refusal(gpu_guest(virtio_payload({.more = 8}))) ==
        device + "the state of the virtio display is of a layout that is not known");
  CHECK(refusal(gpu_guest(virtio_payload({.outputs = 0}))) ==
        device + "the state of the virtio display is of a layout that is not known");
}

TEST_CASE("screen: a virtio VGA is a VGA until the guest uses its GPU") {
  const auto guest = [](std::uint32_t shown) {
    ScreenGuest result = gpu_guest(virtio_payload({.shown = shown}));
    return result.device("0000:00:02.0/virtio-vga",
                         ScreenState().structure("vga", VgaState().described()));
  };
  CHECK(guest(0).read().image->screen->origin == "text mode 2x2 of 0000:00:02.0/virtio-vga");
  CHECK(guest(7).read().image->screen->origin == "virtio resource 7 of 0000:00:02.0/virtio-vga");
}

// --- damage ------------------------------------------------------------------------------------

TEST_CASE("screen: a state that is cut off is refused, wherever it is cut") {
  const Bytes whole = virtio_payload({});
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CAPTURE(size);
    const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    CHECK(refusal(gpu_guest(cut)).starts_with("input: no screen: 0000:00:02.0/virtio-gpu: "));
  }
}

TEST_CASE("screen: a flipped byte of a state gives a picture or a reason") {
  const std::vector<Bytes> streams{vga_guest({}).stream(), qxl_guest({}).stream(),
                                   gpu_guest(virtio_payload({})).stream(),
                                   bochs_guest({0, 2, 2, 32, 1, 0, 4, 0, 1, 1}).stream(),
                                   ramfb_guest(0x2000, "XR24", 2, 2, 16).stream()};
  for (const Bytes& stream : streams) {
    for (std::size_t at = 0; at < stream.size(); ++at) {
      for (const unsigned pattern : {0x01U, 0xffU}) {
        Bytes bytes = stream;
        bytes[at] ^= static_cast<std::byte>(pattern);
        const ReadResult result = read_bytes(bytes, {.screen = true});
        if (!result.image) continue;
        if (const auto& screen = result.image->screen) {
          REQUIRE(screen->rgb.size() == std::size_t{screen->width} * screen->height * 3);
        } else {
          REQUIRE(result.has_warning("no screen: "));
        }
      }
    }
  }
}

}  // namespace
}  // namespace vmconvert::test
