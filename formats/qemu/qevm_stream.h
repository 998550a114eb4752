#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "qemu/ram_section.h"
#include "vmconvert/base/diagnostics.h"
#include "vmconvert/io/byte_source.h"

namespace vmconvert::qemu {

/// A device's state. Its payload is not parsed here.
struct DeviceSection {
  std::string idstr;
  std::uint32_t instance_id = 0;
  std::uint32_t version_id = 0;
  FileRange payload;  ///< reaches to the end of the stream if `sized` is false
  bool sized = true;
};

/// A stream taken apart: what there is and where, no content.
struct QevmStream {
  std::string machine;  ///< machine type, empty before 2.4: "pc-q35-7.2"
  std::vector<std::string> capabilities;
  std::string uuid;  ///< 16 bytes; empty if the stream has none
  RamFormat ram_format;
  std::vector<RamBlock> blocks;
  EncodedRam encoded;  ///< runs of the blocks that are not of source 0; see decode_pages()
  std::vector<DeviceSection> sections;
  /// Every RAM record of the save was seen: a page without one is zero.
  bool ram_complete = false;
  /// The JSON that describes the device sections, if it follows the end.
  std::optional<FileRange> description;

  /// The first section of this name, or whose device path ends in "/name"; nullptr if there is
  /// none.
  const DeviceSection* find_section(std::string_view name) const;
};

/// Parses the stream that begins at `window.begin()`. What follows its end is ignored.
/// @param salvage  damage after the RAM block list is reported as a loss instead of thrown
/// @throws Error(corrupt, unsupported)
QevmStream parse_qevm(const ByteSource& source, FileRange window, bool salvage,
                      Diagnostics& diagnostics);

}  // namespace vmconvert::qemu
