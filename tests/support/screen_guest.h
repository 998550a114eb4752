#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "support/qevm_builder.h"
#include "support/reading.h"

namespace vmconvert::test {

/// A device's state together with its description, field by field.
class ScreenState {
 public:
  ScreenState& bytes(std::string_view name, const Bytes& value,
                        std::string_view type = "buffer");
  /// An integer of 1, 2, 4 or 8 bytes.
  ScreenState& number(std::string_view name, std::uint64_t value, std::size_t size);
  /// Elements of `size` bytes, described as one field.
  ScreenState& array(std::string_view name, const std::vector<std::uint64_t>& values,
                        std::size_t size);
  ScreenState& structure(std::string_view name, const ScreenState& inner);
  /// Elements of the same description.
  ScreenState& structures(std::string_view name, const std::vector<ScreenState>& elements);
  ScreenState& subsection(std::string_view name, const ScreenState& inner);

  const Bytes& payload() const { return payload_.bytes(); }
  /// Members of the object in the description: `"fields": [...], "subsections": [...]`.
  std::string members() const;

 private:
  void describe(std::string_view name, std::string_view type, std::size_t size,
                const std::string& rest = "");

  ByteWriter payload_;
  std::string fields_, subsections_;
};

/// Registers of a VGA. At first: text of 2 columns and 2 rows, characters of 8x4 dots.
struct VgaState {
  std::array<std::uint8_t, 8> sr{};
  std::array<std::uint8_t, 16> gr{};
  std::array<std::uint8_t, 21> ar{};
  std::array<std::uint8_t, 256> cr{};
  std::array<std::uint8_t, 768> palette{};
  std::uint8_t ar_index = 0x20;
  std::array<std::uint16_t, 10> vbe{};
  std::uint32_t vbe_start = 0, vbe_line = 0;
  bool big_endian = false;

  VgaState();
  /// Bochs' extension on, with a picture of this size at `start` (bytes).
  void set_vbe(unsigned width, unsigned height, unsigned bits, std::uint32_t start,
               std::uint32_t line);
  /// The state that QEMU calls "vga".
  ScreenState described() const;
};

/// A PC with a display.
class ScreenGuest {
 public:
  /// @param vram  name of the display's memory block of `vram_size` bytes
  explicit ScreenGuest(std::string vram = "0000:00:02.0/vga.vram",
                       std::uint64_t vram_size = 256 * 1024);

  /// Content of the display's memory; the rest of the page is zero.
  ScreenGuest& video(std::uint64_t at, const Bytes& bytes);
  /// Content of guest memory below 64 KiB.
  ScreenGuest& guest(std::uint64_t at, const Bytes& bytes);
  ScreenGuest& block(const std::string& name, std::uint64_t size);
  ScreenGuest& device(const std::string& name, const ScreenState& state);
  /// The description's object gets this before its devices: `"configuration": {}, `.
  ScreenGuest& description_head(const std::string& text);
  ScreenGuest& no_description();

  Bytes stream() const;
  ReadResult read() const { return read_bytes(stream(), {.screen = true}); }

 private:
  struct Device {
    std::string name;
    ScreenState state;
  };
  std::string vram_;
  Bytes video_, guest_;
  std::vector<BlockEntry> more_blocks_;
  std::vector<Device> devices_;
  std::string head_;
  bool description_ = true;
};

/// A guest with a standard VGA.
ScreenGuest vga_guest(const VgaState& state);

/// The colour of a pixel, 0xrrggbb; fails if there is none.
std::uint32_t pixel(const ReadResult& result, std::uint32_t x, std::uint32_t y);
/// A row: the colours of its pixels.
std::vector<std::uint32_t> row(const ReadResult& result, std::uint32_t y);
/// The only warning; nothing if there is not exactly one.
std::string warning(const ReadResult& result);

}  // namespace vmconvert::test
