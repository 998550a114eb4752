#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "support/kernel_memory.h"

namespace vmconvert::test {

/// The forms in which kernels of different configurations keep addresses.
enum class KallsymsForm { relative, absolute_percpu, whole };

/// A kernel's table of its own symbols, written from Linux's scripts/kallsyms.c.
struct Kallsyms {
  std::vector<std::pair<std::string, std::uint64_t>> symbols;  ///< type and name; value
  KallsymsForm form = KallsymsForm::absolute_percpu;
};

/// Where in the image its parts stand.
struct KallsymsPlaces {
  static constexpr std::uint64_t kAddresses = 0x40000, kBase = 0x44000, kCount = 0x44010,
                                 kNames = 0x48000, kTokens = 0x60000, kIndex = 0x64000;
};

/// Puts it into the image. @returns the lines of VMCOREINFO that tell of it
std::string put_kallsyms(KernelMemory& memory, const KernelMemory::Layout& layout,
                         const Kallsyms& kallsyms);

}  // namespace vmconvert::test
