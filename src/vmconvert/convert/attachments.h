#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "vmconvert/io/byte_sink.h"
#include "vmconvert/model/guest_image.h"

namespace vmconvert {

/// Bytes of its content.
std::uint64_t attachment_size(const Attachment& attachment);

/// Writes the content. @throws Error(io) of the source or sink; Error(corrupt) if it reaches beyond
/// the end of its source
void write_attachment(const Attachment& attachment, const GuestImage& image, ByteSink& sink);

/// Names under which files can be created side by side in one folder, for names that came from an
/// input: no two are alike, none is empty, hidden, longer than 200 bytes or taken for an option.
/// What is not printable ASCII, and '/', '\' and '%', becomes %XX; a name that is there already
/// gets
/// ".2", ".3" and so on.
std::vector<std::string> safe_file_names(std::span<const std::string> proposed);

}  // namespace vmconvert
