#pragma once

#include <cstdint>
#include <string_view>

/// Facts of QEMU's migration stream ("QEVM"), shared by everything in this folder.
///
/// Truth: QEMU 7.2 and 10.0, migration/savevm.c, migration/ram.c, migration/vmstate.c; no other
/// specification exists. Page: docs/formats/qevm.md. All integers are big-endian on every host.
///
///   0  magic "QEVM", 4  version 3, then elements, each beginning with one type byte.
namespace vmconvert::qemu {

inline constexpr std::uint32_t kMagic = 0x5145564d;
inline constexpr std::uint32_t kVersion = 3;
/// What a multifd connection begins with: QEMU, migration/multifd.c, MULTIFD_MAGIC.
inline constexpr std::uint32_t kMultifdMagic = 0x11223344;

enum class Element : std::uint8_t {
  eof = 0x00,
  section_start = 0x01,  ///< first part of a live section: header, payload
  section_part = 0x02,   ///< section id, payload
  section_end = 0x03,    ///< section id, payload
  section_full = 0x04,   ///< a device's whole state: header, payload
  subsection = 0x05,     ///< only inside payloads and the configuration
  vmdescription = 0x06,  ///< length, JSON
  configuration = 0x07,  ///< machine type name; machine types >= 2.4
  command = 0x08,        ///< u16 command, u16 length, bytes
  footer = 0x7e,         ///< section id again; machine types >= 2.4
};

/// Low bits of a RAM record word; the others are the offset within the block.
namespace ram_flag {
inline constexpr std::uint64_t kFull = 0x001;
inline constexpr std::uint64_t kZero = 0x002;
inline constexpr std::uint64_t kMemSize = 0x004;
inline constexpr std::uint64_t kPage = 0x008;
inline constexpr std::uint64_t kEos = 0x010;
inline constexpr std::uint64_t kContinue = 0x020;
inline constexpr std::uint64_t kXbzrle = 0x040;
inline constexpr std::uint64_t kHook = 0x080;
inline constexpr std::uint64_t kCompressPage = 0x100;
inline constexpr std::uint64_t kMultifdFlush = 0x200;
}  // namespace ram_flag

// Limits: far above what QEMU writes, low enough that a hostile file cannot exhaust memory.
inline constexpr std::uint64_t kLargestBlock = std::uint64_t{1} << 52;
inline constexpr std::size_t kMostBlocks = 65536;
inline constexpr std::size_t kMostSections = 65536;
// A full PC writes about 100 KiB. Below 16 MiB, so that the length's first byte is zero.
inline constexpr std::uint32_t kLargestDescription = (1U << 24) - 1;

}  // namespace vmconvert::qemu
