#pragma once

#include "vmconvert/base/diagnostics.h"
#include "vmconvert/io/elf_file.h"
#include "vmconvert/model/run_list.h"

namespace vmconvert::elf_dump {

/// Where the guest's memory lies in an ELF dump, by its PT_LOADs. Each gpa has one place:
///  * PT_LOADs that show the same bytes of the file at the same gpa are one (paging dumps have
///    thousands of those), and so are PT_LOADs with a copy of the same content (/proc/vmcore has
///    the kernel's text twice);
///  * without p_paddr, or without bytes in the file, a PT_LOAD is no memory;
///  * what p_memsz has beyond p_filesz is left out: ELF says that it is zero, but makedumpfile -E
///    leaves out pages with content in this way.
/// @throws Error(corrupt) if a PT_LOAD leaves the source, or two differ about a gpa; with `salvage`
///         the first in the file wins, and the loss is reported
RunList map_segments(const ByteSource& source, const ElfFile& file, bool salvage,
                     Diagnostics& diagnostics);

}  // namespace vmconvert::elf_dump
