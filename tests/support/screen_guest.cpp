#include "support/screen_guest.h"

#include <algorithm>
#include <stdexcept>

namespace vmconvert::test {
namespace {

constexpr std::size_t kPage = 4096;

/// Page records for what is not zero.
void add_pages(RamPayload& payload, const std::string& block, const Bytes& content) {
  for (std::size_t at = 0; at < content.size(); at += kPage) {
    const auto begin = content.begin() + static_cast<std::ptrdiff_t>(at);
    const Bytes page(begin, begin + kPage);
    if (page == Bytes(kPage)) continue;
    payload.raw(at | 0x08, ByteWriter().counted_text(block).append(page).bytes());
  }
}

void put(Bytes& memory, std::uint64_t at, const Bytes& bytes) {
  if (at + bytes.size() > memory.size()) throw std::logic_error("outside the test's memory");
  std::copy(bytes.begin(), bytes.end(), memory.begin() + static_cast<std::ptrdiff_t>(at));
}

Bytes big_endian(std::uint64_t value, std::size_t size) {
  Bytes bytes;
  for (std::size_t i = size; i-- > 0;) bytes.push_back(static_cast<std::byte>(value >> (8 * i)));
  return bytes;
}

template <class Array>
Bytes to_bytes(const Array& values) {
  Bytes bytes;
  for (const std::uint8_t value : values) bytes.push_back(std::byte{value});
  return bytes;
}

}  // namespace

void ScreenState::describe(std::string_view name, std::string_view type, std::size_t size,
                              const std::string& rest) {
  if (!fields_.empty()) fields_ += ", ";
  fields_ += R"({"name": ")" + std::string(name) + R"(", "type": ")" + std::string(type) +
             R"(", "size": )" + std::to_string(size) + rest + "}";
}

ScreenState& ScreenState::bytes(std::string_view name, const Bytes& value,
                                      std::string_view type) {
  payload_.append(value);
  describe(name, type, value.size());
  return *this;
}

ScreenState& ScreenState::number(std::string_view name, std::uint64_t value,
                                       std::size_t size) {
  return bytes(name, big_endian(value, size), "uint" + std::to_string(size * 8));
}

ScreenState& ScreenState::array(std::string_view name,
                                      const std::vector<std::uint64_t>& values, std::size_t size) {
  for (const std::uint64_t value : values) payload_.append(big_endian(value, size));
  describe(name, "uint" + std::to_string(size * 8), size,
           R"(, "array_len": )" + std::to_string(values.size()));
  return *this;
}

ScreenState& ScreenState::structure(std::string_view name, const ScreenState& inner) {
  payload_.append(inner.payload());
  describe(name, "struct", inner.payload().size(), R"(, "struct": {)" + inner.members() + "}");
  return *this;
}

ScreenState& ScreenState::structures(std::string_view name,
                                           const std::vector<ScreenState>& elements) {
  for (const ScreenState& element : elements) payload_.append(element.payload());
  describe(name, "struct", elements.front().payload().size(),
           R"(, "array_len": )" + std::to_string(elements.size()) + R"(, "struct": {)" +
               elements.front().members() + "}");
  return *this;
}

ScreenState& ScreenState::subsection(std::string_view name, const ScreenState& inner) {
  payload_.u8(5).counted_text(name).be32(1).append(inner.payload());
  if (!subsections_.empty()) subsections_ += ", ";
  subsections_ += R"({"vmsd_name": ")" + std::string(name) + R"(", )" + inner.members() + "}";
  return *this;
}

std::string ScreenState::members() const {
  std::string text = R"("fields": [)" + fields_ + "]";
  if (!subsections_.empty()) text += R"(, "subsections": [)" + subsections_ + "]";
  return text;
}

VgaState::VgaState() {
  sr[1] = 0x01;                      // 8 dots
  cr[0x01] = 1;                      // 2 columns
  cr[0x09] = 3;                      // 4 lines a character
  cr[0x12] = 7;                      // 8 lines
  cr[0x13] = 1;                      // 8 bytes a row
  cr[0x17] = 3;                      // no CGA
  cr[0x0a] = 0x20;                   // no cursor
  cr[0x18] = 0xff, cr[0x07] = 0x10;  // no split
  ar[0x12] = 0x0f;                   // all planes
  for (std::uint8_t i = 0; i < 16; ++i) {
    ar[i] = i;
    for (std::size_t k = 0; k < 3; ++k) palette[i * 3U + k] = static_cast<std::uint8_t>(i * 2 + k);
  }
}

void VgaState::set_vbe(unsigned width, unsigned height, unsigned bits, std::uint32_t start,
                       std::uint32_t line) {
  vbe = {0xb0c5, static_cast<std::uint16_t>(width), static_cast<std::uint16_t>(height),
         static_cast<std::uint16_t>(bits), 0x41};
  vbe_start = start / 4;
  vbe_line = line;
  gr[6] = 1;
  gr[5] = bits == 4 ? 0 : 0x40;
  cr[0x09] = 0;
}

ScreenState VgaState::described() const {
  ScreenState state;
  state.number("latch", 0x11223344, 4).number("sr_index", 1, 1).bytes("sr", to_bytes(sr));
  state.number("gr_index", 2, 1).bytes("gr", to_bytes(gr)).number("ar_index", ar_index, 1);
  state.bytes("ar", to_bytes(ar)).number("ar_flip_flop", 0, 4).number("cr_index", 3, 1);
  state.bytes("cr", to_bytes(cr)).bytes("palette", to_bytes(palette));
  state.array("vbe_regs", {vbe.begin(), vbe.end()}, 2).number("vbe_start_addr", vbe_start, 4);
  state.number("vbe_line_offset", vbe_line, 4);
  if (big_endian) state.subsection("vga.endian", ScreenState().number("big_endian_fb", 1, 1));
  return state;
}

ScreenGuest::ScreenGuest(std::string vram, std::uint64_t vram_size)
    : vram_(std::move(vram)), video_(vram_size), guest_(64 * 1024) {}

ScreenGuest& ScreenGuest::video(std::uint64_t at, const Bytes& bytes) {
  put(video_, at, bytes);
  return *this;
}

ScreenGuest& ScreenGuest::guest(std::uint64_t at, const Bytes& bytes) {
  put(guest_, at, bytes);
  return *this;
}

ScreenGuest& ScreenGuest::block(const std::string& name, std::uint64_t size) {
  more_blocks_.push_back({name, size, {}});
  return *this;
}

ScreenGuest& ScreenGuest::device(const std::string& name, const ScreenState& state) {
  devices_.push_back({name, state});
  return *this;
}

ScreenGuest& ScreenGuest::description_head(const std::string& text) {
  head_ = text;
  return *this;
}

ScreenGuest& ScreenGuest::no_description() {
  description_ = false;
  return *this;
}

Bytes ScreenGuest::stream() const {
  std::vector<BlockEntry> blocks{{vram_, video_.size(), {}}, {"pc.ram", guest_.size(), {}}};
  blocks.insert(blocks.end(), more_blocks_.begin(), more_blocks_.end());
  RamPayload pages;
  add_pages(pages, vram_, video_);
  add_pages(pages, "pc.ram", guest_);
  QevmBuilder stream;
  stream.header().configuration("pc-i440fx-7.2").ram_start(blocks).ram_end(pages.eos());
  std::string json = "{" + head_ + R"("page_size": 4096, "devices": [)";
  for (const Device& device : devices_) {
    stream.device(device.name, device.state.payload());
    if (&device != &devices_.front()) json += ", ";
    json +=
        R"({"name": ")" + device.name + R"(", "instance_id": 0, )" + device.state.members() + "}";
  }
  stream.eos();
  if (description_) stream.description(json + "]}");
  return stream.bytes();
}

ScreenGuest vga_guest(const VgaState& state) {
  ScreenGuest guest;
  guest.device("0000:00:02.0/vga", ScreenState().structure("vga", state.described()));
  return guest;
}

std::uint32_t pixel(const ReadResult& result, std::uint32_t x, std::uint32_t y) {
  const Screen& screen = result.image.value().screen.value();
  if (x >= screen.width || y >= screen.height) throw std::logic_error("no such pixel");
  const std::size_t at = (std::size_t{y} * screen.width + x) * 3;
  const auto byte = [&](std::size_t i) {
    return std::to_integer<std::uint32_t>(screen.rgb.at(at + i));
  };
  return byte(0) << 16 | byte(1) << 8 | byte(2);
}

std::vector<std::uint32_t> row(const ReadResult& result, std::uint32_t y) {
  std::vector<std::uint32_t> pixels;
  for (std::uint32_t x = 0; x < result.image.value().screen.value().width; ++x) {
    pixels.push_back(pixel(result, x, y));
  }
  return pixels;
}

std::string warning(const ReadResult& result) {
  const auto warnings = result.diagnostics->of(Diagnostics::Level::warning);
  return warnings.size() == 1 ? warnings.front() : "";
}

}  // namespace vmconvert::test
