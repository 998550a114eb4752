#pragma once

#include <span>

#include "vmconvert/model/output_format.h"

namespace vmconvert {

/// Every output format, in the order `vmconvert formats` lists them.
std::span<const OutputFormat> all_writers();

}  // namespace vmconvert
