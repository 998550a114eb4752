#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "qemu/qcow2_header.h"

namespace vmconvert::qemu::qcow2 {

/// Unpacks one compressed cluster: the beginning of `packed`, which may be longer than the data.
/// @param cluster  filled completely
/// @returns what is wrong with the data; empty if nothing is
std::string unpack_cluster(Compression compression, std::span<const std::byte> packed,
                           std::span<std::byte> cluster);

}  // namespace vmconvert::qemu::qcow2
