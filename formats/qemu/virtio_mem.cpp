#include "qemu/virtio_mem.h"

#include <algorithm>
#include <bit>
#include <span>

#include "vmconvert/base/packed.h"

namespace vmconvert::qemu {
namespace {

// Truth: QEMU, hw/virtio/virtio-mem.c: VirtIOMEMMigSanityChecks, then, up to 7.2,
// usable_region_size, size, requested_size and the bitmap; from 8.0 on, in a section of its own,
// size and the bitmap.
//   0 u64 addr, 8 u64 region_size, 16 u64 block_size, 24 u32 node, 28 ...
constexpr std::size_t kFixedSize = 28;
constexpr std::uint64_t kLargestState = 64ULL << 20;  // bitmap of 1 PiB in 2 MiB blocks
// Sections whose end is not known overlap; a hostile stream has tens of thousands.
constexpr std::uint64_t kMostSearched = 4 * kLargestState;
constexpr std::uint64_t kSmallestBlock = std::uint64_t{1} << 20;
constexpr std::uint32_t kMostNodes = 1024;

std::uint64_t word_at(std::span<const std::byte> bytes, std::size_t at) {
  return load<std::uint64_t>(bytes.subspan(at), std::endian::big);
}

/// Parses the state that begins with `bytes` if it is one of this region.
std::optional<VirtioMem> parse_state(std::span<const std::byte> bytes, std::uint64_t region_size,
                                     bool early) {
  const std::size_t size_at = kFixedSize + (early ? 0 : 8);
  const std::size_t bitmap_at = kFixedSize + (early ? 8 : 24);
  if (bytes.size() < bitmap_at || word_at(bytes, 8) != region_size) return std::nullopt;
  const std::uint64_t block_size = word_at(bytes, 16);
  const auto region = GuestRange::try_sized({word_at(bytes, 0)}, region_size);
  if (!region || !std::has_single_bit(block_size) || block_size < kSmallestBlock ||
      region_size % block_size != 0 || region->begin().value % block_size != 0 ||
      load<std::uint32_t>(bytes.subspan(24), std::endian::big) >= kMostNodes) {
    return std::nullopt;
  }
  const std::uint64_t count = region_size / block_size;
  const std::uint64_t words = (count + 63) / 64;
  if (words > (bytes.size() - bitmap_at) / 8) return std::nullopt;
  VirtioMem result{*region, {}};
  std::uint64_t plugged = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    if ((word_at(bytes, bitmap_at + static_cast<std::size_t>(i / 64) * 8) >> (i % 64) & 1) == 0)
      continue;
    ++plugged;
    const GuestRange block = GuestRange::sized(region->begin() + i * block_size, block_size);
    if (!result.plugged.empty() && result.plugged.back().end() == block.begin()) {
      result.plugged.back() = GuestRange::between(result.plugged.back().begin(), block.end());
    } else {
      result.plugged.push_back(block);
    }
  }
  if (plugged * block_size != word_at(bytes, size_at)) return std::nullopt;
  return result;
}

}  // namespace

std::optional<VirtioMem> find_virtio_mem(const QevmStream& stream, const RamBlock& block,
                                         const ByteSource& source) {
  const std::string_view name = block.name;
  const std::string_view path = name.substr(0, name.rfind('/') + 1);
  std::uint64_t searched = 0;
  for (const DeviceSection& section : stream.sections) {
    if (!section.idstr.starts_with(path) || section.payload.size() > kLargestState) continue;
    searched += section.payload.size();
    if (searched > kMostSearched) break;
    std::vector<std::byte> payload(static_cast<std::size_t>(section.payload.size()));
    source.read_at(section.payload.begin(), payload);
    const bool early = section.idstr.ends_with("-early");
    for (std::size_t at = 0; at + kFixedSize <= payload.size(); ++at) {
      if (auto found = parse_state(std::span(payload).subspan(at), block.used_length, early))
        return found;
      if (early) break;
    }
  }
  return std::nullopt;
}

}  // namespace vmconvert::qemu
