#pragma once

#include "vmconvert/model/output_format.h"

namespace vmconvert::lime {

/// LiME: a header before each range of memory. docs/writers/lime.md
extern const OutputFormat kLime;

}  // namespace vmconvert::lime
