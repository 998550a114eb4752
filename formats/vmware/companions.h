#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "vmconvert/io/input.h"

namespace vmconvert::vmware {

/// Letters A to Z in lower case.
std::string lower(std::string_view text);

/// The last part of a path; file_name() escapes it for people.
std::string base_name(std::string_view path);
std::string file_name(std::string_view path);

/// True if the name, without the suffix of a compressed file, ends in this extension (".vmem",
/// lower case) whatever its case.
bool has_extension(std::string_view path, std::string_view extension);

/// The file that an input's memory is expected in: its own name with .vmem.
std::string expected_memory(std::string_view path);

/// The memory of a saved state: the file of the same name with .vmem, upper and lower case alike.
/// Where there is none, a file that has a UUID for a name and the expected size, if the folder has
/// but one such file and one state.
/// @param path      of the state
/// @param expected  bytes of memory; 0 if unknown
/// @throws Error(usage) if several could be it
std::optional<std::string> find_memory(const Neighbours& folder, const std::string& path,
                                       std::uint64_t expected, Diagnostics& diagnostics);

/// The state of a memory file: the file of the same name with .vmss, .vmsn or .guest. Of a file
/// with a UUID for a name, the only state in the folder that has no memory of its own name.
/// @throws Error(usage) if several could be it
std::optional<std::string> find_state(const Neighbours& folder, const std::string& path,
                                      Diagnostics& diagnostics);

}  // namespace vmconvert::vmware
