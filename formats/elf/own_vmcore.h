#pragma once

#include "vmconvert/base/diagnostics.h"
#include "vmconvert/model/guest_image.h"

namespace vmconvert::elf_dump {

/// A vmcore that vmconvert wrote of a PV guest of Xen holds a p2m that is no memory of the guest,
/// and a note that tells where: takes it out of the image, with the notes about it, and sets
/// GuestImage::xen, so that a writer makes it anew. What no such note tells of stays as it is.
void drop_own_p2m(const std::string& file, GuestImage& image, Diagnostics& diagnostics);

}  // namespace vmconvert::elf_dump
