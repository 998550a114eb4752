#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "qemu_core/process_memory.h"
#include "vmconvert/base/diagnostics.h"

namespace vmconvert::qemu_core {

/// A part of a file that was mapped.
struct MappedFile {
  ProcessRange range;
  std::uint64_t offset = 0;  ///< of range.begin() in the file, bytes
  std::string path;          ///< as the core has it; " (deleted)" may follow
};

/// What the notes of a core say about the process.
struct ProcessNotes {
  std::string command;               ///< the first 80 bytes of its command line
  std::optional<ProcessAddr> entry;  ///< of the program the kernel started: maybe its ld.so
  bool has_files = false;            ///< there is a list of mapped files
  std::vector<MappedFile> files;     ///< sorted, disjoint

  /// The file that is mapped somewhere in `range`; nullptr if there is none.
  const MappedFile* find_file(ProcessRange range) const;
  /// The mapping of QEMU's own executable from its beginning on; nullptr if no file has such a
  /// name.
  const MappedFile* qemu() const;
};

/// "qemu-system-x86_64" of "/usr/bin/qemu-system-x86_64 (deleted)".
std::string_view base_name(std::string_view path);

/// Truth: Linux, fs/binfmt_elf.c and include/linux/elfcore.h.
/// @param salvage  notes that the core is too short for are left out with a warning, instead of
/// refused
/// @throws Error(corrupt) if the notes break their rules
ProcessNotes read_process_notes(const ByteSource& source, const ElfFile& elf, bool salvage,
                                Diagnostics& diagnostics);

}  // namespace vmconvert::qemu_core
