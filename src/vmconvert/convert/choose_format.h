#pragma once

#include <span>
#include <string_view>

#include "vmconvert/io/byte_source.h"
#include "vmconvert/model/format.h"
#include "vmconvert/model/output_format.h"

namespace vmconvert {

/// The format of `input`: `wanted` if it is not empty, else the one whose probe knows it.
/// @throws Error(usage) if `wanted` names none; Error(unsupported) if no probe or more than one
///         says yes, with the names
const Format& choose_format(std::span<const Format> formats, std::string_view wanted,
                            const ByteSource& input);

/// Reads the input with its format.
/// @throws Error(usage) if something is asked for that its inputs cannot have: a snapshot where they
///         hold one state, another half, records
GuestImage read_image(const Format& format, const Input& input, const ReadOptions& options,
                      Diagnostics& diagnostics);

/// The output format: `wanted` if it is not empty, else the one to which the name's suffix belongs.
/// @throws Error(usage) if there is none; the message lists what there is
const OutputFormat& choose_output_format(std::span<const OutputFormat> formats,
                                         std::string_view wanted, std::string_view output_name);

}  // namespace vmconvert
