#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "vmconvert/kernel/page_tables.h"
#include "vmconvert/model/kernel_facts.h"

namespace vmconvert {

/// Symbol -> its value.
using SymbolValues = std::map<std::string, std::uint64_t, std::less<>>;

/// What the running kernel's own symbol table (kallsyms) says of `names`: those it has once. It is
/// believed only if it has _stext where `info` has it. Truth: Linux scripts/kallsyms.c and
/// kernel/kallsyms.c, 6.0 to 6.12; where the tables are, VMCOREINFO tells since 6.0.
/// @returns nothing of a table that is not told of, damaged, or larger than any kernel's
SymbolValues read_kallsyms(const PageTables& tables, const Vmcoreinfo& info,
                           std::span<const std::string_view> names);

}  // namespace vmconvert
