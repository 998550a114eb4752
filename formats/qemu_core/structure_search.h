#pragma once

#include <functional>
#include <string>
#include <vector>

#include "qemu_core/layout.h"
#include "qemu_core/memory_structures.h"
#include "qemu_core/process_memory.h"
#include "vmconvert/model/guest_image.h"

namespace vmconvert::qemu_core {

/// A map, with the layout that fitted.
struct FoundMap {
  FlatMap map;
  const Layout* layout = nullptr;  ///< one of known_layouts()
};

/// Looks for the AddressSpace "memory" in the writable mappings of the process, without knowing
/// where anything is: first words that spell "memory", then words that point to one, then what
/// makes a map convincing. Mappings of more than 256 MiB, as guest RAM is, are read only if the
/// smaller ones do not hold it. Reads each mapping at most twice per step, in large pieces.
/// @throws Error(unsupported) if there is none, or more than one
FoundMap search_address_space(ProcessMemory& memory);

/// Tries one address with each of `layouts`.
/// @param reason  receives why the layout that got furthest did not fit
std::optional<FoundMap> try_address_space(ProcessMemory& memory, std::span<const Layout> layouts,
                                          ProcessAddr at, Budget& budget, std::string& reason);

/// Calls `visit` for each aligned 8-byte word of a mapping's stored bytes until it returns false.
/// @returns false if it did
bool for_each_word(const ProcessMemory& memory, const Mapping& mapping,
                   const std::function<bool(ProcessAddr, std::span<const std::byte, 8>)>& visit);

/// Writable mappings that are stored, those of at most 256 MiB, or those that are larger.
std::vector<const Mapping*> searched_mappings(const ProcessMemory& memory, bool large);

}  // namespace vmconvert::qemu_core
