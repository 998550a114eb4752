#include <algorithm>

#include "qemu/screen_vga.h"

namespace vmconvert::qemu {
namespace {

// Truth: QEMU 7.2 and 10.0, hw/display/vga.c (vga_draw_graphic, vga_get_params), vga-helpers.h,
// cirrus_vga.c (cirrus_get_params, cirrus_get_bpp). docs/formats/qemu-screen.md, "Graphics".
constexpr unsigned kHalfClock = 0x08;            // sequencer 1: each dot twice
constexpr std::uint32_t kLegacyBytes = 0x40000;  // what a VGA without extensions has
constexpr std::uint32_t kNoLineCompare = 65535;

/// How a row is made of the memory's bytes: bits 5 and 6 of graphics 5, else the depth.
enum class RowKind { planes_16, planes_4, bytes_doubled, bytes, pixels };

/// What the registers come to.
struct Mode {
  std::uint32_t width = 0, height = 0;  ///< before doubling
  unsigned depth = 0;                   ///< bits a pixel; 0 in VGA modes
  std::uint64_t start = 0;              ///< of the first row, bytes
  std::uint64_t line_bytes = 0;
  std::uint32_t line_compare = kNoLineCompare;
  unsigned panning = 0;  ///< dots the picture is shifted to the left
  bool panning_ends_at_split = false;
  bool doubled = false;  ///< each dot twice
  RowKind kind = RowKind::planes_16;
};

unsigned cirrus_depth(const VgaRegisters& r) {
  if ((r.sequencer[7] & 0x01) == 0) return 0;
  switch (r.sequencer[7] & 0x0e) {
    case 0x02:
    case 0x06:
      return (r.cirrus_hidden_dac & 0x0f) == 1 ? 16 : 15;
    case 0x04:
      return 24;
    case 0x08:
      return 32;
    default:
      return 8;
  }
}

/// Where the picture lies, how large and how deep it is.
Mode frame_of(const VgaRegisters& r) {
  Mode mode;
  if (r.is_vbe()) {
    mode.width = r.vbe[1];
    mode.height = r.vbe[2];
    mode.depth = r.vbe[3];
    mode.start = std::uint64_t{r.vbe_start} * 4;
    mode.line_bytes = r.vbe_line_bytes;
    return mode;
  }
  mode.width = (r.crtc[1] + 1U) * 8;
  mode.height = r.crtc_lines();
  std::uint32_t start = r.crtc[0x0d] | static_cast<std::uint32_t>(r.crtc[0x0c]) << 8;
  std::uint32_t line = r.crtc[0x13];
  if (r.is_cirrus) {
    mode.depth = cirrus_depth(r);
    if ((r.crtc[0x1a] & 1) != 0) mode.height *= 2;  // interlaced
    start |=
        (r.crtc[0x1b] & 0x01U) << 16 | (r.crtc[0x1b] & 0x0cU) << 15 | (r.crtc[0x1d] & 0x80U) << 12;
    line |= (r.crtc[0x1b] & 0x10U) << 4;
  }
  mode.start = std::uint64_t{start} * 4;
  mode.line_bytes = std::uint64_t{line} * 8;
  mode.line_compare = r.line_compare();
  mode.panning = r.attribute[19] & 7U;
  mode.panning_ends_at_split = (r.attribute[16] & 0x20) != 0;
  return mode;
}

Mode mode_of(const VgaRegisters& r) {
  Mode mode = frame_of(r);
  const unsigned shift = r.graphics[5] >> 5 & 3;
  const bool half_clock = !r.is_vbe() && (r.sequencer[1] & kHalfClock) != 0;
  if (shift < 2) {
    mode.kind = shift == 0 ? RowKind::planes_16 : RowKind::planes_4;
    mode.doubled = half_clock;
  } else if (mode.depth == 8) {
    mode.kind = RowKind::bytes;
  } else if (mode.depth == 15 || mode.depth == 16 || mode.depth == 24 || mode.depth == 32) {
    mode.kind = RowKind::pixels;
  } else {
    mode.kind = RowKind::bytes_doubled;
  }
  return mode;
}

std::array<Rgb, 256> palette_256(const VgaRegisters& r) {
  const bool eight_bits = (r.vbe[4] & 0x20) != 0;
  std::array<Rgb, 256> colours;
  for (std::size_t i = 0; i < colours.size(); ++i) {
    const auto value = [&](std::size_t k) {
      const unsigned v = r.palette[i * 3 + k], last = v & 1;
      return static_cast<std::uint8_t>(eight_bits ? v : (v & 0x3f) << 2 | last << 1 | last);
    };
    colours[i] = {value(0), value(1), value(2)};
  }
  return colours;
}

/// Draws line by line, as the VGA does: by registers that double, split and interleave lines.
class LineRenderer {
 public:
  LineRenderer(const VgaRegisters& registers, const VideoMemory& memory, const Mode& mode)
      : r_(registers), memory_(memory), mode_(mode) {
    if (mode_.kind == RowKind::bytes || mode_.kind == RowKind::bytes_doubled) {
      const auto colours = palette_256(r_);
      palette_.assign(colours.begin(), colours.end());
    } else {
      const auto colours = palette_16(r_);
      palette_.assign(colours.begin(), colours.end());
    }
    // Outside the extensions' modes a VGA's addresses have 18 bits.
    limit_ = r_.is_vbe() || (r_.is_cirrus && mode_.depth != 0)
                 ? memory_.size()
                 : std::min<std::uint64_t>(memory_.size(), kLegacyBytes);
  }

  Canvas draw() {
    Canvas canvas(mode_.doubled ? mode_.width * 2 : mode_.width, mode_.height);
    const unsigned control = r_.crtc[0x17];
    const unsigned twice = r_.crtc[9] >> 7;
    // The CGA's modes ignore the height of a character row.
    const unsigned repeats = (control & 1) != 0 ? (((r_.crtc[9] & 0x1fU) + 1) << twice) - 1 : twice;
    const unsigned mask = (control & 3) ^ 3;
    unsigned panning = mode_.panning, left = repeats;
    std::uint64_t row = mode_.start;
    for (std::uint32_t y = 0, line = 0; y < canvas.height(); ++y) {
      draw_line(canvas, y, address_of(row, line), panning);
      if (left-- == 0) {
        if ((line & mask) == mask) row += mode_.line_bytes;
        ++line;
        left = repeats;
      }
      if (y == mode_.line_compare) {
        row = 0;
        if (mode_.panning_ends_at_split) panning = 0;
      }
    }
    return canvas;
  }

 private:
  /// The CGA's and Hercules' modes have every second, or fourth, line in a bank of its own.
  std::uint64_t address_of(std::uint64_t row, std::uint32_t line) const {
    const unsigned control = r_.crtc[0x17];
    if ((control & 1) == 0) {
      const unsigned shift = 14 + (control >> 6 & 1);
      row = (row & ~(std::uint64_t{1} << shift)) | std::uint64_t{line & 1} << shift;
    }
    if ((control & 2) == 0) row = (row & ~std::uint64_t{0x8000}) | std::uint64_t{line & 2} << 14;
    return row;
  }

  /// Bytes of one line, at most a few more than a row has.
  std::span<const std::byte> fetch(std::uint64_t at, std::size_t size) {
    bytes_.resize(size);
    std::span<std::byte> left(bytes_);
    at %= limit_;
    while (!left.empty()) {
      const auto part = left.first(std::min<std::size_t>(left.size(), limit_ - at));
      memory_.read(at, part);
      left = left.subspan(part.size());
      at = 0;
    }
    return bytes_;
  }

  void draw_line(Canvas& canvas, std::uint32_t y, std::uint64_t at, unsigned panning) {
    if (mode_.kind == RowKind::pixels) {
      // Here QEMU converts itself and does not repeat high bits, as it does where it hands the
      // memory to its user interface.
      PixelFormat format = pc_format(mode_.depth, order());
      format.repeat_high_bits = false;
      colours_.resize(mode_.width);
      convert_row(fetch(at, std::size_t{mode_.width} * format.bytes), format, colours_);
      canvas.set_row(y, colours_);
      return;
    }
    const bool bytes = mode_.kind == RowKind::bytes || mode_.kind == RowKind::bytes_doubled;
    const unsigned shift = bytes ? panning >> 1 : panning;
    const std::size_t groups = mode_.width / 8 + (shift != 0 ? 1 : 0);  // of 8 dots
    colours_.clear();
    if (bytes) {
      add_bytes(fetch(at, groups * (mode_.kind == RowKind::bytes ? 8 : 4)));
    } else {
      add_planes(fetch(at & ~std::uint64_t{3}, groups * 4));
    }
    const bool twice = mode_.doubled || mode_.kind == RowKind::bytes_doubled;
    const std::size_t skip = std::min<std::size_t>(twice ? shift * 2 : shift, colours_.size());
    canvas.set_row(y, std::span(colours_).subspan(skip));
  }

  std::endian order() const {
    return r_.big_endian_pixels ? std::endian::big : std::endian::little;
  }

  void add(Rgb colour, bool twice) {
    colours_.push_back(colour);
    if (twice) colours_.push_back(colour);
  }

  void add_bytes(std::span<const std::byte> bytes) {
    const bool twice = mode_.kind == RowKind::bytes_doubled;
    for (const std::byte b : bytes) add(palette_[std::to_integer<std::size_t>(b)], twice);
  }

  /// Eight dots from each four bytes, one byte of each plane.
  void add_planes(std::span<const std::byte> bytes) {
    for (std::size_t at = 0; at + 4 <= bytes.size(); at += 4) {
      std::array<unsigned, 4> plane{};
      for (std::size_t p = 0; p < 4; ++p) {
        if ((r_.attribute[18] >> p & 1) != 0) plane[p] = std::to_integer<unsigned>(bytes[at + p]);
      }
      for (unsigned dot = 0; dot < 8; ++dot) add(palette_[index_of(plane, dot)], mode_.doubled);
    }
  }

  std::size_t index_of(const std::array<unsigned, 4>& plane, unsigned dot) const {
    if (mode_.kind == RowKind::planes_16) {
      std::size_t index = 0;
      for (unsigned p = 0; p < 4; ++p) index |= (plane[p] >> (7 - dot) & 1U) << p;
      return index;
    }
    // Four colours: two bits a dot; four dots from the even planes, then four from the odd ones.
    const unsigned first = dot / 4, shift = 6 - 2 * (dot % 4);
    return (plane[first] >> shift & 3) | (plane[first + 2] >> shift & 3) << 2;
  }

  const VgaRegisters& r_;
  const VideoMemory& memory_;
  const Mode& mode_;
  std::uint64_t limit_ = 0;
  std::vector<Rgb> palette_;
  std::vector<std::byte> bytes_;
  std::vector<Rgb> colours_;
};

/// Modes of 16 bits and more QEMU hands to its user interface as they are in memory, whatever the
/// other registers say; unless they wrap around, have pixels of 16 bits in foreign byte order or
/// are of a device whose interface takes 32 bits alone.
std::optional<LinearFramebuffer> linear_of(const VgaRegisters& r, const Mode& mode,
                                           std::uint64_t memory_size) {
  if (mode.depth != 15 && mode.depth != 16 && mode.depth != 24 && mode.depth != 32)
    return std::nullopt;
  if (mode.depth == 15 && !r.hands_15_bits_over) return std::nullopt;
  if (r.big_endian_pixels && mode.depth < 24) return std::nullopt;
  if (r.is_qxl && mode.depth != 32) return std::nullopt;
  LinearFramebuffer framebuffer{
      mode.width, mode.height, mode.start, mode.line_bytes,
      pc_format(mode.depth, r.big_endian_pixels ? std::endian::big : std::endian::little)};
  if (framebuffer.at + framebuffer.bytes() > memory_size) return std::nullopt;
  return framebuffer;
}

}  // namespace

Drawn draw_vga_graphics(const VgaRegisters& registers, const VideoMemory& memory) {
  const Mode mode = mode_of(registers);
  const auto linear = linear_of(registers, mode, memory.size());
  Canvas canvas =
      linear ? draw_linear(memory, *linear) : LineRenderer(registers, memory, mode).draw();
  const unsigned depth = mode.depth != 0                       ? mode.depth
                         : mode.kind == RowKind::planes_4      ? 2
                         : mode.kind == RowKind::bytes_doubled ? 8
                                                               : 4;
  std::string name = "graphics mode " + std::to_string(canvas.width()) + "x" +
                     std::to_string(canvas.height()) + ", " + std::to_string(depth) +
                     " bits per pixel";
  return {std::move(canvas), std::move(name)};
}

}  // namespace vmconvert::qemu
