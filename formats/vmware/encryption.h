#pragma once

#include <cstddef>
#include <span>

#include "vmconvert/io/byte_source.h"

namespace vmconvert::vmware {

/// Bytes of a file's beginning that tell what it is.
inline constexpr std::size_t kLargestHead = 32;

/// True if a file that begins so is the data file of an encrypted virtual machine.
bool is_encrypted(std::span<const std::byte> head);

/// @throws Error(unsupported) that says what to do, if the file is encrypted
void refuse_encrypted(std::span<const std::byte> head, const ByteSource& file);

}  // namespace vmconvert::vmware
