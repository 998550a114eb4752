#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vmconvert/io/byte_source.h"
#include "vmconvert/io/elf_file.h"
#include "vmconvert/model/metadata.h"

namespace vmconvert::xen {

/// A section of an ELF file.
struct CoreSection {
  std::string name;
  std::uint32_t type = 0;
  FileRange range;  ///< within the file
  std::uint64_t entsize = 0;
};

/// The sections of an ELF file but the first, which is none, in their order. Those without content
/// in the file have an empty range.
/// @throws Error(corrupt) if the table, a name or a section leaves the file,
///         Error(unsupported) if there are more than a dump-core can have
std::vector<CoreSection> read_core_sections(const ByteSource& source, const ElfHeader& header);

/// What a dump-core's notes say.
struct CoreNotes {
  bool pv = false;  ///< else HVM, PVH or Arm
  std::uint64_t nr_vcpus = 0, nr_pages = 0;
  std::uint64_t major = 0, minor = 0;  ///< version of the hypervisor; 0 if there is no such note
  std::vector<Fact> facts;             ///< about the hypervisor
};

/// Reads the notes of section .note.Xen.
/// @throws Error(corrupt) if there is none that tells the guest's kind, or the notes do not fit,
///         Error(unsupported) if pages are not of 4 KiB or the format's version is not known
CoreNotes read_core_notes(const ByteSource& source, FileRange range, std::endian order);

/// True if a note of a dump-core begins at `head`, little-endian.
bool is_core_note(std::span<const std::byte> head);

}  // namespace vmconvert::xen
