#pragma once

#include <array>
#include <optional>
#include <span>
#include <string_view>

#include "qemu/device_fields.h"
#include "qemu/screen_vga.h"
#include "vmconvert/base/diagnostics.h"

namespace vmconvert::qemu {

/// What a renderer of one device may use.
struct DisplayInput {
  const QevmStream& stream;
  std::span<const RunList> blocks;  ///< content of stream.blocks
  const GuestImage& image;
  const DeviceFields& fields;
  const DeviceSection& section;  ///< of this device
  DeviceState state;
  Diagnostics& diagnostics;
};

/// A kind of display device, by the name its section ends in.
struct DisplayKind {
  std::string_view section;  ///< "vga" for "0000:00:02.0/vga"
  bool is_vga = false;       ///< has the PC's VGA: is the primary display if there are several
  /// Throws Error(corrupt, unsupported) with the reason if there is no picture; Error(io).
  Drawn (*draw)(const DisplayInput& input);
};

/// The kind of a section; nullptr if it is no display.
const DisplayKind* find_display_kind(std::string_view idstr);

/// The pixels that a virtio GPU keeps in its state. Nothing if the guest has not put anything on
/// its first output.
std::optional<Drawn> draw_virtio_gpu(const ByteSource& source, FileRange state);

/// A qxl's own, non-VGA mode.
Drawn draw_qxl_native(const DisplayInput& input);

/// The memory of a device, by the names its block may have: in the folder of its section, or
/// without a folder as ISA devices and machine types up to 2.12 have it.
/// @throws Error(corrupt) if there is none
VideoMemory video_memory(const DisplayInput& input, std::span<const std::string_view> names);

/// What a VGA draws from; a qxl that is not the primary display has another name for it.
inline constexpr std::array<std::string_view, 2> kVgaMemory{"vga.vram", "qxl.vgavram"};

}  // namespace vmconvert::qemu
