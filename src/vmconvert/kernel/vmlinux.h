#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace vmconvert {

/// What a kernel's own ELF file (vmlinux) says, as far as a minimal VMCOREINFO needs it.
struct Vmlinux {
  std::string file;
  std::uint16_t machine = 0;  ///< e_machine
  std::string banner;         ///< linux_banner without its end of line
  std::map<std::string, std::uint64_t, std::less<>>
      symbols;  ///< of those that are wanted, the ones it has
};

/// Reads the symbols with libelf, which maps the file: memory does not grow with debug information.
/// @throws Error(io) if it cannot be read; Error(corrupt, unsupported) if it is no ELF file, no
/// kernel, or has no symbol table
Vmlinux read_vmlinux(const std::string& path);

}  // namespace vmconvert
