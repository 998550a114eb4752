#pragma once

#include "vmconvert/model/output_format.h"

namespace vmconvert::raw {

/// Guest-physical memory, byte N of the file at address N. docs/writers/raw.md
extern const OutputFormat kRaw;

}  // namespace vmconvert::raw
