#pragma once

#include <cstdint>

/// Facts of QEMU's disk image format qcow2, as far as internal snapshots with machine state need
/// them.
///
/// Truth: QEMU, docs/interop/qcow2.txt, and block/qcow2*.c of 7.2 where that text is silent;
/// checked against the images listed in docs/formats/qcow2.md. All integers are big-endian.
///
///   header       first cluster: 72 bytes (version 2), 104 or more (version 3), extensions
///   snapshots    at snapshots_offset: entries of variable length, each on an 8-byte border
///   L1 table     of a snapshot: u64 per L2 table
///   L2 table     one cluster: u64 per cluster, or two u64 with extended L2 entries
///   cluster      what the guest sees of the disk, and behind the disk's end the machine state
namespace vmconvert::qemu::qcow2 {

inline constexpr std::uint32_t kMagic = 0x514649fb;  // "QFI\xfb"

inline constexpr std::uint32_t kSmallestClusterBits = 9;
inline constexpr std::uint32_t kLargestClusterBits = 21;
inline constexpr std::uint32_t kSmallestExtendedClusterBits = 14;
inline constexpr std::uint32_t kSubclusters = 32;

/// Bits of incompatible_features, header offset 72.
namespace feature {
inline constexpr unsigned kDirty = 0;         ///< refcounts may be wrong; they are not used here
inline constexpr unsigned kCorrupt = 1;       ///< QEMU saw a damaged table
inline constexpr unsigned kExternalData = 2;  ///< clusters lie in another file
inline constexpr unsigned kCompression = 3;   ///< compressed clusters are not zlib's
inline constexpr unsigned kExtendedL2 = 4;
inline constexpr unsigned kKnown = 5;  ///< bits below this one are
}  // namespace feature

/// Header extensions.
inline constexpr std::uint32_t kExtensionEnd = 0;
inline constexpr std::uint32_t kExtensionFeatureNames = 0x6803f857;

/// Entries of L1 and L2 tables.
namespace entry {
inline constexpr std::uint64_t kCopied = std::uint64_t{1} << 63;      ///< refcount is one
inline constexpr std::uint64_t kCompressed = std::uint64_t{1} << 62;  ///< L2 only
inline constexpr std::uint64_t kOffset = 0x00fffffffffffe00;
inline constexpr std::uint64_t kZero = 1;  ///< L2, version 3, not extended: reads as zeros
}  // namespace entry

// Limits of QEMU's own reader (block/qcow2.h).
inline constexpr std::uint32_t kMostSnapshots = 65536;
inline constexpr std::uint64_t kLargestSnapshotTable = std::uint64_t{64} << 20;
inline constexpr std::uint64_t kLargestL1Bytes = std::uint64_t{32} << 20;

}  // namespace vmconvert::qemu::qcow2
