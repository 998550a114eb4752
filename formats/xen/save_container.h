#pragma once

#include <optional>
#include <span>
#include <string>

#include "vmconvert/io/byte_source.h"

namespace vmconvert::xen {

/// What surrounds a save stream of Xen.
struct SaveContainer {
  enum class Stream { current, legacy };
  /// How the configuration of the guest is written: JSON of libxl, xl.cfg, S-expression of xend,
  /// domain XML of libvirt.
  enum class Config { json, xl, xend, libvirt };
  std::string name;  ///< for people: "xl save file"
  Stream stream = Stream::current;
  FileOffset begin;                 ///< of the stream
  std::optional<FileRange> config;  ///< without the NUL that ends it
  Config config_kind = Config::json;
};

/// Finds the stream in a file, whatever lies before it.
/// @throws Error(corrupt, unsupported) if there is none, or a header is not understood
SaveContainer open_save_container(const ByteSource& source);

enum class SaveStart { no, maybe, yes };
/// Judges the beginning of a file.
SaveStart save_start(std::span<const std::byte> head);

}  // namespace vmconvert::xen
