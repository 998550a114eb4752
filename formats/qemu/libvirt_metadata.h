#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "vmconvert/model/guest_image.h"

namespace vmconvert::qemu {

/// What the head of a libvirt save image says.
struct SaveFacts {
  std::uint32_t version = 0;
  bool was_running = false;
  std::string_view body_format;  ///< "raw" or the name of the compressor
  FileRange domain_xml;          ///< without the NUL
  std::optional<FileRange> cookie;
};

/// Adds it to the image of the stream behind it: facts, the domain's own among them, and the domain
/// XML and the cookie as attachments.
/// @param file  the save image; becomes a source of the image if it is none
/// @param xml   the text at `facts.domain_xml`; one that does not parse gives no facts
void describe_save(const std::shared_ptr<const ByteSource>& file, const SaveFacts& facts,
                   std::string_view xml, GuestImage& image);

}  // namespace vmconvert::qemu
