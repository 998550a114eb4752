#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "qemu_core/process_memory.h"

// Structures of QEMU that lead from its memory map to the guest's RAM, in builds for 64-bit hosts.
// Docs: docs/formats/qemu-core.md, "Structures". Truth: QEMU, include/exec/memory.h,
// include/exec/ramblock.h, include/sysemu/hostmem.h, include/qom/object.h, qom/object.c.

namespace vmconvert::qemu_core {

/// Offsets of the fields that are read, in bytes.
struct Layout {
  std::string name;  ///< for people: which QEMU has it, and who says so

  struct {
    std::uint32_t name = 16, current_map = 32;
  } address_space;
  struct {
    std::uint32_t ranges = 24, nr = 32;
  } flat_view;
  struct {
    std::uint32_t size = 64;  ///< of one
    std::uint32_t mr = 0, offset_in_region = 8, start = 16, length = 32;
  } flat_range;
  struct {
    std::uint32_t ram = 41, readonly = 43, nonvolatile = 44, ram_block = 56, owner = 64;
    std::uint32_t size = 112, terminates = 152, ram_device = 153;
  } memory_region;
  struct {
    std::uint32_t mr = 16, host = 24, used_length = 48, max_length = 56, idstr = 76, next = 336;
  } ram_block;
  struct {
    std::uint32_t size = 40, dump = 49;
  } host_memory_backend;
  /// Object.klass, Object.parent, ObjectClass.type, TypeImpl.name.
  struct {
    std::uint32_t klass = 0, parent = 32, type = 0, type_name = 0;
  } object;
  struct {
    std::uint32_t has_vmcoreinfo = 0, vmcoreinfo = 8;
  } vmcoreinfo_state;  ///< known from debug information only
};

/// Layouts to try when there is no debug information.
std::span<const Layout> known_layouts();

/// What debug information or symbols tell.
struct ProgramFacts {
  std::string origin;                                 ///< for people: "debug information in FILE"
  std::optional<std::string> build_id;                ///< bytes
  std::uint64_t entry = 0;                            ///< e_entry, not relocated
  std::optional<std::uint64_t> address_space_memory;  ///< its address, not relocated
  std::optional<std::uint64_t> vmcoreinfo_state;      ///< of a pointer to the device, not relocated
  std::optional<Layout> layout;
};

}  // namespace vmconvert::qemu_core
