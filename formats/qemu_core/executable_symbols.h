#pragma once

#include <string>

#include "qemu_core/layout.h"

namespace vmconvert::qemu_core {

/// Takes the addresses of QEMU's variables from the symbols of its executable: .symtab, or .dynsym
/// of a stripped one, which QEMU fills for its loadable modules.
/// @throws Error(io, unsupported) if it cannot be read or does not tell
ProgramFacts read_symbols(const std::string& path);

}  // namespace vmconvert::qemu_core
