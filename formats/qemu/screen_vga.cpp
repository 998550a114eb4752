#include "qemu/screen_vga.h"

#include <algorithm>

namespace vmconvert::qemu {
namespace {

// Truth: QEMU 7.2 and 10.0, hw/display/vga.c (vmstate_vga_common, vga_draw_text), and the registers
// as IBM's VGA has them. docs/formats/qemu-screen.md, "VGA". Bits used here:
constexpr unsigned kScreenOn = 0x20;    // attribute index: palette address source
constexpr unsigned kGraphics = 0x01;    // graphics 6
constexpr unsigned kEightDots = 0x01;   // sequencer 1: characters of 8 dots instead of 9
constexpr unsigned kHalfClock = 0x08;   // sequencer 1: each dot twice
constexpr unsigned kLineGlyphs = 0x04;  // attribute 16: line characters continue into the 9th dot
constexpr unsigned kColourPage = 0x80;  // attribute 16: bits 4 and 5 from attribute 20
constexpr unsigned kCursorOff = 0x20;   // CRTC 10
constexpr std::uint32_t kMostCells = 160 * 100;  // QEMU draws no more
constexpr std::size_t kFontBytes = 8192 * 4;     // 256 glyphs of 32 rows, in plane 2

using Bytes = VgaRegisters::Bytes;

std::optional<Bytes> read_bytes(const DeviceState& state, const std::string& path,
                                std::size_t least) {
  const auto bytes = state.bytes(path);
  if (!bytes || bytes->size() < least) return std::nullopt;
  Bytes result(bytes->size());
  std::transform(bytes->begin(), bytes->end(), result.begin(),
                 [](std::byte b) { return std::to_integer<std::uint8_t>(b); });
  return result;
}

/// The registers every VGA has. `gap` is how many bytes of the graphics controller's are kept
/// elsewhere.
std::optional<VgaRegisters> read_common(const DeviceState& state, const std::string& prefix,
                                        std::size_t gap) {
  VgaRegisters r;
  auto sequencer = read_bytes(state, prefix + "sr", 8);
  auto graphics = read_bytes(state, prefix + "gr", 16 - gap);
  auto attribute = read_bytes(state, prefix + "ar", 21);
  auto crtc = read_bytes(state, prefix + "cr", 256);
  auto palette = read_bytes(state, prefix + "palette", 768);
  const auto index = state.number(prefix + "ar_index");
  if (!sequencer || !graphics || !attribute || !crtc || !palette || !index) return std::nullopt;
  r.sequencer = std::move(*sequencer);
  r.graphics = std::move(*graphics);
  r.graphics.insert(r.graphics.begin(), gap, 0);  // none of them matters here
  r.attribute = std::move(*attribute);
  r.crtc = std::move(*crtc);
  r.palette = std::move(*palette);
  r.attribute_index = static_cast<std::uint8_t>(*index);
  return r;
}

/// Six bits to eight; the last bit is repeated.
std::uint8_t widen_6(std::uint8_t value) {
  const unsigned last = value & 1U;
  return static_cast<std::uint8_t>((value & 0x3fU) << 2 | last << 1 | last);
}

/// One text screen's cells and fonts.
class TextScreen {
 public:
  TextScreen(const VgaRegisters& registers, const VideoMemory& memory)
      : r_(registers), memory_(memory), colours_(palette_16(registers)) {
    cell_height_ = (r_.crtc[9] & 0x1fU) + 1;
    cell_width_ = (r_.sequencer[1] & kEightDots) != 0 ? 8 : 9;
    if ((r_.sequencer[1] & kHalfClock) != 0) cell_width_ = 16;
    columns_ = r_.crtc[1] + 1U;
    // 160x100 dots of CGA: text of two lines a row, told by the frame's total.
    rows_ = r_.crtc[6] == 100 ? 100 : r_.crtc_lines() / cell_height_;
    if (columns_ * rows_ <= 1 || columns_ * rows_ > kMostCells) {
      refuse_screen("text mode of " + std::to_string(columns_) + "x" + std::to_string(rows_) +
                    " characters is not plausible");
    }
    start_ = r_.crtc[0x0d] | static_cast<std::uint32_t>(r_.crtc[0x0c]) << 8;
    const unsigned map = r_.sequencer[3];
    fonts_[0] = load_font((map >> 4 & 1) | (map << 1 & 6));
    fonts_[1] = load_font((map >> 5 & 1) | (map >> 1 & 6));
  }

  Drawn draw() {
    Canvas canvas(columns_ * cell_width_, rows_ * cell_height_);
    std::vector<std::byte> cells(std::size_t{columns_} * 4);
    std::uint32_t address = start_;  // in units of 4 bytes: a character in each plane
    for (std::uint32_t row = 0; row < rows_; ++row) {
      memory_.read(std::uint64_t{address} * 4, cells);
      for (std::uint32_t column = 0; column < columns_; ++column) {
        draw_cell(canvas, column, row, std::span(cells).subspan(std::size_t{column} * 4),
                  address + column);
      }
      address += r_.crtc[0x13] * 2U;
      const std::uint32_t line = row * cell_height_;
      if (line < r_.line_compare() && line + cell_height_ >= r_.line_compare()) address = 0;
    }
    return {std::move(canvas),
            "text mode " + std::to_string(columns_) + "x" + std::to_string(rows_)};
  }

 private:
  std::vector<std::byte> load_font(unsigned map) const {
    std::vector<std::byte> font(kFontBytes);
    memory_.read(std::uint64_t{map} * kFontBytes, font);
    return font;
  }

  void draw_cell(Canvas& canvas, std::uint32_t column, std::uint32_t row,
                 std::span<const std::byte> cell, std::uint32_t address) const {
    const auto character = std::to_integer<std::size_t>(cell[0]);
    const auto attribute = std::to_integer<unsigned>(cell[1]);
    const Rgb ink = colours_[attribute & 15], paper = colours_[attribute >> 4];
    const auto& font = fonts_[attribute >> 3 & 1];
    const bool continues =
        character >= 0xb0 && character <= 0xdf && (r_.attribute[16] & kLineGlyphs) != 0;
    for (std::uint32_t y = 0; y < cell_height_; ++y) {
      const auto dots = is_cursor(address, y)
                            ? 0xffU
                            : std::to_integer<unsigned>(font[character * 128 + y * 4 + 2]);
      for (std::uint32_t x = 0; x < cell_width_; ++x) {
        const std::uint32_t dot = cell_width_ == 16 ? x / 2 : x;
        const bool set = dot < 8 ? (dots >> (7 - dot) & 1) != 0
                                 : (continues || is_cursor(address, y)) && (dots & 1) != 0;
        canvas.set(column * cell_width_ + x, row * cell_height_ + y, set ? ink : paper);
      }
    }
  }

  /// The state does not tell in which phase of its blinking the cursor is: it is drawn.
  bool is_cursor(std::uint32_t address, std::uint32_t y) const {
    const std::uint32_t at = r_.crtc[0x0f] | static_cast<std::uint32_t>(r_.crtc[0x0e]) << 8;
    return address == at && (r_.crtc[0x0a] & kCursorOff) == 0 && y >= (r_.crtc[0x0a] & 0x1fU) &&
           y <= (r_.crtc[0x0b] & 0x1fU);
  }

  const VgaRegisters& r_;
  const VideoMemory& memory_;
  std::array<Rgb, 16> colours_;
  std::uint32_t cell_width_ = 0, cell_height_ = 0, columns_ = 0, rows_ = 0, start_ = 0;
  std::array<std::vector<std::byte>, 2> fonts_;
};

}  // namespace

std::optional<VgaRegisters> read_vga(const DeviceState& state, const std::string& prefix) {
  auto r = read_common(state, prefix, 0);
  if (!r) return std::nullopt;
  // Before 2011 a build could leave Bochs' extension out; then there is nothing of it.
  if (const auto vbe = state.numbers(prefix + "vbe_regs"); vbe && vbe->size() >= r->vbe.size()) {
    std::transform(vbe->begin(), vbe->begin() + static_cast<std::ptrdiff_t>(r->vbe.size()),
                   r->vbe.begin(), [](std::uint64_t v) { return static_cast<std::uint16_t>(v); });
    const auto start = state.number(prefix + "vbe_start_addr");
    const auto line = state.number(prefix + "vbe_line_offset");
    if (!start || !line) return std::nullopt;
    r->vbe_start = static_cast<std::uint32_t>(*start);
    r->vbe_line_bytes = static_cast<std::uint32_t>(*line);
  }
  // Only written if it is not what the machine begins with, which for PCs is little-endian.
  r->big_endian_pixels = state.number(prefix + "vga.endian/big_endian_fb").value_or(0) != 0;
  return r;
}

std::optional<VgaRegisters> read_cirrus(const DeviceState& state, const std::string& prefix) {
  auto r = read_common(state, prefix + "vga.", 2);  // two have shadows of their own
  const auto dac = state.number(prefix + "cirrus_hidden_dac_data");
  if (!r || !dac) return std::nullopt;
  r->is_cirrus = true;
  r->cirrus_hidden_dac = static_cast<std::uint8_t>(*dac);
  return r;
}

std::array<Rgb, 16> palette_16(const VgaRegisters& r) {
  std::array<Rgb, 16> colours;
  for (std::size_t i = 0; i < colours.size(); ++i) {
    const unsigned page = r.attribute[20], entry = r.attribute[i];
    const unsigned index = (r.attribute[16] & kColourPage) != 0
                               ? (page & 0x0f) << 4 | (entry & 0x0f)
                               : (page & 0x0c) << 4 | (entry & 0x3f);
    const auto* dac = &r.palette[std::size_t{index} * 3];
    colours[i] = {widen_6(dac[0]), widen_6(dac[1]), widen_6(dac[2])};
  }
  return colours;
}

Drawn draw_vga_text(const VgaRegisters& registers, const VideoMemory& memory) {
  return TextScreen(registers, memory).draw();
}

Drawn draw_vga(const VgaRegisters& registers, const VideoMemory& memory) {
  // QEMU then paints its window black, in the size of the mode before: which that was is not saved.
  if ((registers.attribute_index & kScreenOn) == 0) refuse_screen("the display is blanked");
  return (registers.graphics[6] & kGraphics) != 0 ? draw_vga_graphics(registers, memory)
                                                  : draw_vga_text(registers, memory);
}

}  // namespace vmconvert::qemu
