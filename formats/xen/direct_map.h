#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "vmconvert/model/xen_facts.h"

namespace vmconvert::xen {

/// One PV guest's page tables, seen from its machine frames.
struct MachineTables {
  unsigned width = 8;        ///< bytes of the guest's words: four levels, or three (PAE) for 4
  Mfn root;                  ///< what CR3 points to
  std::uint64_t frames = 0;  ///< that the guest has: no more tables are looked at
  /// Fills `out` (4096 bytes) with a frame; false if the guest does not have it.
  std::function<bool(Mfn, std::span<std::byte>)> read;
};

/// The frames that a Linux kernel maps in one piece, its direct map, whose page number n is the
/// guest's pfn n: calls `visit` for each present one, in ascending order. A second copy of the p2m
/// that needs no symbols. @returns the number of tables that could not be read, or may not be:
/// large pages, more tables than frames
std::uint64_t walk_direct_map(const MachineTables& tables,
                              const std::function<void(Pfn, Mfn)>& visit);

}  // namespace vmconvert::xen
