#pragma once

#include <string_view>

#include "vmconvert/model/format.h"

namespace vmconvert::qemu {

/// Takes from a domain XML what a stream does not tell: the guest addresses of memory devices.
/// What the user gave takes precedence. XML that does not parse is reported and otherwise ignored.
void add_domain_facts(std::string_view xml, std::string_view file, ReadOptions& options,
                      Diagnostics& diagnostics);

}  // namespace vmconvert::qemu
