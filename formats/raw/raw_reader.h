#pragma once

#include "vmconvert/model/format.h"

namespace vmconvert::raw_image {

/// Guest memory and nothing else: byte N is guest-physical address N. Nothing in the content says
/// so, so it is never chosen unasked. docs/formats/raw.md
extern const Format kRaw;

}  // namespace vmconvert::raw_image
