#pragma once

#include <nlohmann/json_fwd.hpp>

#include "info_page.h"
#include "vmconvert/model/guest_image.h"

namespace vmconvert::cli {

/// Shows what an input is made of, if it was asked for. Of long values the beginning is read.
/// @param hexdump  with the bytes of what is no number
/// @throws Error(io) as the source does
void show_records(const GuestImage& image, bool hexdump, Page& page);

/// The same for programs; null if it was not asked for.
nlohmann::ordered_json records_json(const GuestImage& image, bool hexdump);

}  // namespace vmconvert::cli
