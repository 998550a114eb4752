#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "qemu/ram_section.h"

namespace vmconvert::qemu {

/// Which blocks hold guest memory, as indices into the stream's block list.
struct GuestBlocks {
  std::vector<std::size_t> main_ram;        ///< in address order: one, or one per NUMA node
  std::vector<std::size_t> memory_devices;  ///< pc-dimm and the like, in the order of the stream
  std::vector<std::size_t> virtio_memory;   ///< blocks of virtio-mem devices
};

/// Names of main RAM on PCs.
inline constexpr std::array<std::string_view, 3> kPcRamNames{"pc.ram", "microvm.ram", "xen.ram"};

/// Tells guest memory from video memory, ROMs and firmware by name and size; docs/formats/qevm.md,
/// "Which blocks are guest memory".
/// @param default_names  of main RAM on this board, unless its user chose one
/// @param ram_size  bytes of main RAM according to the CMOS, to 64 KiB, if known
/// @throws Error(unsupported) naming the candidates if main RAM cannot be told
GuestBlocks classify_blocks(std::span<const RamBlock> blocks,
                            std::span<const std::string_view> default_names,
                            std::optional<std::uint64_t> ram_size, std::string_view file);

/// The index of the block with this name.
std::optional<std::size_t> find_block(std::span<const RamBlock> blocks, std::string_view name);

/// A block's name as the user chose it: without the "/objects/" that machine types up to 3.1 put
/// before the id of a file backend.
std::string_view backend_id(std::string_view block_name);

}  // namespace vmconvert::qemu
