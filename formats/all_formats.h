#pragma once

#include <span>

#include "vmconvert/model/format.h"

namespace vmconvert {

/// Every input format, in the order `vmconvert formats` lists them.
std::span<const Format> all_formats();

}  // namespace vmconvert
