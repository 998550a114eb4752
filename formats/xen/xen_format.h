#pragma once

#include <cstdint>

// Facts that more than one of the containers share. Page: docs/formats/xen.md
namespace vmconvert::xen {

inline constexpr std::uint32_t kPage = 4096;
inline constexpr std::uint64_t kPageShift = 12;

/// Frames from here on have addresses that no x86 processor can form (52 bits).
inline constexpr std::uint64_t kFramesEnd = std::uint64_t{1} << 40;

/// Xen numbers vCPUs below this, of any kind of guest: public/xen.h and public/hvm/hvm_info_table.h
/// have 128 at most for x86, 8192 is the most that the interface has room for.
inline constexpr std::uint32_t kMostVcpus = 8192;

/// Sizes of vcpu_guest_context. Truth: Xen 4.17, xen/include/public/arch-x86/xen.h, arch-arm.h.
inline constexpr std::uint64_t kContext64 = 5168, kContext32 = 2800, kContextArm = 352;

}  // namespace vmconvert::xen
