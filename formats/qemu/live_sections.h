#pragma once

#include <cstdint>
#include <string_view>

#include "vmconvert/io/cursor.h"

namespace vmconvert::qemu {

/// Which of a live section's payloads is read: some have different ones.
enum class LivePhase { start, part, end };

/// Steps over one payload of a live section that holds no guest RAM.
using SkipLivePayload = void (*)(Cursor& cursor, LivePhase phase);

/// The grammar of a live section by its idstr; nullptr if it is not known.
SkipLivePayload find_live_section(std::string_view idstr);

}  // namespace vmconvert::qemu
