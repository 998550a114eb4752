#pragma once

#include <optional>
#include <string>

#include "qemu/x86_layout.h"

namespace vmconvert::qemu {

/// The date a PC's clock showed when it was saved, "2026-11-25T04:30:00": QEMU brings the CMOS up
/// to date before it saves it. Whether that is UTC or local time is between the guest and its user.
/// Nothing if the bytes are no date.
std::optional<std::string> rtc_date(const Cmos& cmos);

}  // namespace vmconvert::qemu
