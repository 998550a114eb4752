#pragma once

#include <span>

#include "vmconvert/model/format.h"

namespace vmconvert::xen {

/// True if a core of Xen 3.0, from before it was ELF, begins so.
bool is_old_core(std::span<const std::byte> head);

/// Reads one. That of a PV guest tells machine frames alone; which page of the guest each is, its
/// page tables tell, where they map all of its memory in one piece.
/// @throws Error(corrupt, unsupported)
GuestImage read_old_core(const Input& input, const ReadOptions& options, Diagnostics& diagnostics);

}  // namespace vmconvert::xen
