#pragma once

#include <vector>

#include "vmconvert/io/elf_file.h"
#include "vmconvert/model/guest_image.h"

namespace vmconvert {

/// Puts the notes of a dump into an image: as they are into `notes`, the text of VMCOREINFO into
/// `vmcoreinfo`, and what they tell as facts "dump.vcpus" and "dump.release".
/// @throws Error(io) as the source does
void add_dump_notes(const ByteSource& source, const std::vector<ElfNote>& notes, GuestImage& image);

}  // namespace vmconvert
