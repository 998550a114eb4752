#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "vmconvert/base/diagnostics.h"
#include "vmconvert/io/byte_source.h"
#include "vmconvert/model/vcpu.h"
#include "vmware/memory_layout.h"

namespace vmconvert::vmware {

/// What the .guest file of a panic dump tells. Its memory is a .vmem of the same name.
struct PanicDump {
  std::uint32_t version = 0;
  std::uint64_t memory_size = 0;      ///< bytes that the .vmem has to have
  std::vector<Placement> placements;  ///< of that memory, whose holes are left out
  std::vector<X86Registers> vcpus;
};

/// True if a file of this size that begins so is a .guest: it has no magic, but its numbers have to
/// agree.
bool is_panic_dump(std::span<const std::byte> head, std::uint64_t size);

/// @throws Error(corrupt) if its numbers do not agree, Error(unsupported) for an unknown version
/// and
///         ARM64 guests
PanicDump read_panic_dump(const ByteSource& file, Diagnostics& diagnostics);

}  // namespace vmconvert::vmware
