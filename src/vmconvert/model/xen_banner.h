#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "vmconvert/model/guest_image.h"
#include "vmconvert/model/xen_facts.h"

namespace vmconvert {

/// True if the page tables of a 64-bit kernel map its image, told by "Linux version " in it.
/// @param root   the L4
/// @param find   the page that a frame in an entry is; nothing: not one of the guest
/// @throws Error(io) as the sources do
bool maps_linux(const GuestImage& image, Pfn root,
                const std::function<std::optional<Pfn>(std::uint64_t frame)>& find);

}  // namespace vmconvert
