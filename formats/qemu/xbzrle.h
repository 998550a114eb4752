#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace vmconvert::qemu {

/// Changes `page` to what it was when QEMU made `delta`. Truth: QEMU, docs/xbzrle.txt and
/// migration/xbzrle.c; docs/formats/qevm.md, "XBZRLE".
/// @returns why the delta is damaged; empty if it is not. `page` is undefined if it is.
std::string_view apply_xbzrle(std::span<const std::byte> delta, std::span<std::byte> page);

}  // namespace vmconvert::qemu
