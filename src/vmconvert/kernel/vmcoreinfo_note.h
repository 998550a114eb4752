#pragma once

#include <bit>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "vmconvert/model/guest_image.h"

namespace vmconvert {

/// The text of a VMCOREINFO at the beginning of `page`: as an ELF note ("VMCOREINFO", type 0), or
/// bare as Linux keeps it on a page of its own. Nothing unless it is lines of KEY=VALUE with
/// OSRELEASE, a PAGESIZE that is a power of two, and the symbol of the page tables or of
/// init_uts_ns.
/// @param page  enough of guest memory to hold the whole; the text may be cut where `page` ends
std::optional<std::string> parse_vmcoreinfo(std::span<const std::byte> page, std::endian order);

/// True if parse_vmcoreinfo() may find something: looks at 34 bytes.
bool may_be_vmcoreinfo(std::span<const std::byte> page, std::endian order);

/// The VMCOREINFO at a guest address, if there is one. @param how  "which ...", for its origin
std::optional<Vmcoreinfo> read_vmcoreinfo(const GuestImage& image, GuestPhysAddr at,
                                          std::string_view how);

}  // namespace vmconvert
