#pragma once

#include <optional>
#include <string>

#include "qemu_core/layout.h"

namespace vmconvert::qemu_core {

/// Takes the layout of QEMU's structures and the addresses of its variables from the debug
/// information in `path`: a file of a -dbgsym package, or an executable that was not stripped.
/// @param root  where the common part of several such files lies, "/usr/lib/debug"; may be empty
/// @throws Error(io, unsupported) if it cannot be read or lacks what is needed
ProgramFacts read_debug_info(const std::string& path, const std::string& root);

/// The file that distributions would install for this build: "ROOT/.build-id/ab/cdef.debug".
std::string debug_file_path(const std::string& root, const std::string& build_id);

}  // namespace vmconvert::qemu_core
