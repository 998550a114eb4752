#pragma once

#include "vmconvert/base/diagnostics.h"
#include "vmconvert/convert/convert.h"

namespace vmconvert::cli {

/// Prints what is found of the request's input on standard output, a line each.
/// @returns true if the input is usable
/// @throws Error as reading it does
bool print_verification(const ConvertRequest& request, Diagnostics& diagnostics);

}  // namespace vmconvert::cli
