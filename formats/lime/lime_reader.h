#pragma once

#include "vmconvert/model/format.h"

namespace vmconvert::lime_image {

/// LiME images, and AVML's compressed kind of them. docs/formats/lime.md
extern const Format kLime;

}  // namespace vmconvert::lime_image
