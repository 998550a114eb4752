#pragma once

#include <bit>
#include <optional>
#include <string>

#include "qemu_core/memory_structures.h"
#include "qemu_core/process_notes.h"
#include "vmconvert/model/guest_image.h"

namespace vmconvert::qemu_core {

/// The guest's architecture, with where it was taken from.
struct GuestArch {
  Arch arch = Arch::x86_64;
  std::string origin;  ///< for people: "the executable qemu-system-x86_64"
};

/// From QEMU's name (among the mapped files, else on the command line), from the host's machine if
/// it is a program for KVM only, or from the name of a board's RAM.
/// @throws Error(unsupported) if none of them tells, or it is an architecture there is no output
/// for
GuestArch find_guest_arch(const ByteSource& source, const ElfHeader& host,
                          const ProcessNotes& notes, const FlatMap& map);

/// The byte order of a ppc64 guest's kernel or firmware, from the instructions of its interrupt
/// vectors at guest address 0; nothing if they do not tell.
std::optional<std::endian> ppc64_order(const GuestImage& image);

}  // namespace vmconvert::qemu_core
