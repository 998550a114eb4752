#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vmconvert {

/// Places of a struct's members in bytes, those of anonymous members included.
struct BtfStruct {
  std::uint64_t size = 0;
  std::map<std::string, std::uint64_t, std::less<>> members;
};

/// True if `bytes` can begin with a kernel's BTF; looks at 24 bytes.
/// @returns the size of the whole, or nothing
std::optional<std::uint64_t> btf_size(std::span<const std::byte> bytes, std::endian order);

/// Finds one struct in BTF, the kernel's own type information. Truth: Linux,
/// Documentation/bpf/btf.rst. Never throws on account of the bytes.
std::optional<BtfStruct> find_btf_struct(std::span<const std::byte> btf, std::endian order,
                                         std::string_view name);

}  // namespace vmconvert
