#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vmconvert/base/address.h"
#include "vmconvert/io/byte_source.h"

namespace vmconvert::qemu {

/// What the JSON after the stream's end says about one device section.
struct DescribedSection {
  std::string idstr;
  std::uint64_t instance_id = 0;
  std::uint64_t payload_size = 0;  ///< bytes, at most kLargestBlock
};

/// The device sections in the order of the stream, or nothing if the text is not a vmdescription.
/// Never throws on account of the text.
std::optional<std::vector<DescribedSection>> parse_vmdescription(std::string_view json);

/// Where the JSON lies if it ends the window, trailing zero bytes apart.
std::optional<FileRange> find_vmdescription_at_end(const ByteSource& source, FileRange window);

}  // namespace vmconvert::qemu
