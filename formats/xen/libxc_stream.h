#pragma once

#include <cstdint>

#include "vmconvert/base/diagnostics.h"
#include "vmconvert/io/cursor.h"
#include "xen/saved_guest.h"

namespace vmconvert::xen {

// Records of a libxc stream, version 2 and 3. docs/formats/xen.md, "Streams"
namespace libxc {
inline constexpr std::uint32_t kEnd = 0x00, kPageData = 0x01, kPvInfo = 0x02, kP2mFrames = 0x03,
                               kVcpuBasic = 0x04, kSharedInfo = 0x07, kHvmContext = 0x09,
                               kVerify = 0x0d, kCheckpoint = 0x0e, kNewest = 0x12;
/// A record body may have so many bytes: REC_LENGTH_MAX.
inline constexpr std::uint32_t kLargestBody = 128U << 20;
}  // namespace libxc

/// Reads the two headers that a libxc stream begins with.
/// @throws Error(corrupt) if they are not such, Error(unsupported) for what no x86 guest has
void read_libxc_headers(Cursor& cursor, SavedGuest& guest);

/// Takes in the body of a record that is not one of those that end a part of the stream.
/// @param complete  false if `body` is shorter than the record said: the pages that are there are
/// kept
/// @throws Error(corrupt) if the body does not fit its type
void apply_libxc_record(const ByteSource& source, std::uint32_t type, FileRange body, bool complete,
                        SavedGuest& guest);

}  // namespace vmconvert::xen
