#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "qemu_core/layout.h"
#include "qemu_core/process_memory.h"

namespace vmconvert::qemu_core {

/// A RAMBlock.
struct Block {
  ProcessAddr at;            ///< of the structure
  std::string name;          ///< empty for a few that QEMU does not save
  ProcessRange host;         ///< its content, used_length bytes
  std::optional<bool> dump;  ///< of its memory backend: false keeps it out of cores
};

/// A part of a block, as the guest sees it.
struct VisibleRam {
  GuestRange guest;
  std::size_t block = 0;     ///< index into FlatMap::blocks
  std::uint64_t offset = 0;  ///< of guest.begin() within the block
  bool readonly = false;     ///< a ROM
  bool device = false;       ///< memory of a host device, mapped for the guest
  bool nonvolatile = false;  ///< an NVDIMM
  friend bool operator==(const VisibleRam&, const VisibleRam&) = default;
};

/// What the guest's address space consists of.
struct FlatMap {
  ProcessAddr address_space;
  std::vector<VisibleRam> ram;  ///< ascending, disjoint
  std::vector<Block> blocks;    ///< those in `ram` first, then others that are known
  std::string machine;          ///< machine type, if a device told: "pc-q35-7.2"
};

/// A map, or why there is none.
struct Checked {
  std::optional<FlatMap> map;
  std::string reason;  ///< for people: "FlatRange 3 overlaps the one before it"
  std::size_t progress =
      0;  ///< fields read before that: of several reasons the last one tells most
};

/// How much checking a core may cost, in FlatRanges and RAMBlocks: a hostile one could offer
/// millions of address spaces.
struct Budget {
  std::size_t structures = std::size_t{1} << 20;
};

/// Follows QEMU's structures from the AddressSpace at `at`. They have to agree with each other in
/// everything: docs/formats/qemu-core.md, "What makes a map convincing".
Checked check_address_space(ProcessMemory& memory, const Layout& layout, ProcessAddr at,
                            Budget& budget);

/// The QOM type of an object, "memory-backend-ram"; nothing if it is none.
std::optional<std::string> object_type(ProcessMemory& memory, const Layout& layout, ProcessAddr at);

}  // namespace vmconvert::qemu_core
