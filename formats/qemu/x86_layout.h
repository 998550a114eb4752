#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "qemu/memory_map.h"
#include "vmconvert/base/address.h"

namespace vmconvert::qemu {

enum class Board { i440fx, q35, isapc, microvm, xenfv };

/// The first 128 bytes of the RTC's battery-backed RAM.
using Cmos = std::array<std::byte, 128>;
/// PCI configuration space of the host bridge (I440FX or MCH).
using PciConfig = std::array<std::byte, 256>;

/// What decides where main RAM lies. Sizes in bytes.
struct SplitFacts {
  Board board = Board::i440fx;
  std::string machine;  ///< machine type, empty if the stream has none (before 2.4)
  std::uint64_t ram_size = 0;
  std::optional<Cmos> cmos;
  std::optional<std::uint64_t> below_4g;  ///< the user's word
};

struct Split {
  std::uint64_t below = 0;  ///< bytes of main RAM from address 0 on; the rest begins at 4 GiB
  std::string origin;       ///< for people: where `below` was taken from
};

/// Size of main RAM according to the CMOS, to a multiple of 64 KiB; nothing if the bytes hold none.
std::optional<std::uint64_t> cmos_ram_size(const Cmos& cmos);

/// The split of main RAM at the 32-bit PCI hole: what the user says, else the CMOS if it agrees
/// with the block's size, else the machine type's rule. Docs: docs/formats/qevm.md, "Where RAM
/// of a PC lies".
/// @throws Error(usage) if the user's value does not fit
Split choose_split(const SplitFacts& facts);

/// QEMU 7.1 and later move RAM above 4 GiB up to here for AMD guests whose address space would
/// reach into the HyperTransport range below it.
inline constexpr std::uint64_t kAmdRelocatedBase = std::uint64_t{1} << 40;

/// True if RAM above 4 GiB was relocated there. Nothing in the stream itself tells; firmware and
/// kernel leave the e820 map they were given in low memory, and the SRAT of a NUMA guest is in the
/// block of ACPI tables.
/// @param low_memory  the first MiB of RAM
/// @param above  bytes of main RAM above 4 GiB
bool tells_relocated_ram(std::span<const std::byte> low_memory,
                         std::span<const std::byte> acpi_tables, std::uint64_t above);

/// Blocks that lie under the legacy BIOS area, by index.
struct LegacyBlocks {
  std::size_t main_ram = 0;
  std::optional<std::size_t> option_roms;  ///< "pc.rom", 128 KiB at 0xc0000
  std::optional<std::size_t> bios;         ///< "isa-bios", or "pc.bios", of which the end is seen
  std::uint64_t bios_size = 0;
  bool vga = false;  ///< a VGA window hides 0xa0000 to 0xbffff
};

/// Lays over main RAM what the guest sees instead of it below 1 MiB, and hides System Management
/// RAM, as the host bridge's registers say; without them RAM is taken to be seen.
/// @param below  bytes of main RAM below 4 GiB
void overlay_legacy_area(MemoryMap& map, Board board, const std::optional<PciConfig>& host_bridge,
                         const LegacyBlocks& blocks, std::uint64_t below);

}  // namespace vmconvert::qemu
