#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "vmconvert/kernel/kallsyms.h"
#include "vmconvert/kernel/page_tables.h"
#include "vmconvert/model/kernel_facts.h"

namespace vmconvert {

/// What of a kernel's image Linux gives to its page allocator while it boots, in whole pages. From
/// then on the kernel, and so its tools, know that memory by its address in the direct map.
struct GivenBack {
  struct Between {
    std::string_view begin, end;  ///< symbols
  };
  std::span<const Between> ranges;
  /// A variable that holds where the image ends; what is mapped behind it is memory like any other.
  std::string_view end_variable{};
};

// Of all architectures: Linux mm/page_alloc.c, free_initmem_default().
inline constexpr std::array kInitMemory{GivenBack::Between{"__init_begin", "__init_end"}};
// Of x86-64: Linux arch/x86/mm/init.c, init_64.c (mark_rodata_ro()), mem_encrypt_amd.c,
// kernel/alternative.c.
inline constexpr std::array kX86Memory{
    GivenBack::Between{"__init_begin", "__init_end"},
    GivenBack::Between{"_etext", "__start_rodata"}, GivenBack::Between{"__end_rodata", "_sdata"},
    GivenBack::Between{"__smp_locks", "__smp_locks_end"},
    GivenBack::Between{"__start_bss_decrypted_unused", "__end_bss_decrypted"}};

inline constexpr GivenBack kInitGivenBack{.ranges = kInitMemory};
// The image ends between borders of 2 MiB, up to which it is mapped: arch/x86/kernel/setup.c
// (reserve_brk()), mm/init_64.c (cleanup_highmap()).
inline constexpr GivenBack kX86GivenBack{.ranges = kX86Memory, .end_variable = "_brk_end"};

/// The symbols that tell where it is.
std::vector<std::string_view> symbols_of(const GivenBack& given_back);

/// Takes out of facts.image what has been given back, so that the direct map's address is what is
/// told of it; nothing if that address is not known. A range that is not of the image, or in which
/// `info` has a variable of the kernel's, is no such range.
/// @param symbols  those of symbols_of() that are known, at their addresses in the guest
/// @returns how many bytes were taken out
std::uint64_t take_out(const GivenBack& given_back, const SymbolValues& symbols,
                       const PageTables& tables, const Vmcoreinfo& info, KernelFacts& facts);

}  // namespace vmconvert
