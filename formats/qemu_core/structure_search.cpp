#include "qemu_core/structure_search.h"

#include <algorithm>
#include <cstring>
#include <unordered_set>

#include "vmconvert/base/packed.h"
#include "vmconvert/base/text.h"

namespace vmconvert::qemu_core {
namespace {

// The heap of a QEMU process seldom has more; most guests do.
constexpr std::uint64_t kLargeMapping = std::uint64_t{256} << 20;
constexpr std::size_t kReadSize = std::size_t{1} << 20;
// Real processes have about ten of each.
constexpr std::size_t kMostStrings = 1U << 16, kMostCandidates = 1U << 16;
constexpr std::size_t kMostFound = 32;
constexpr std::string_view kName{"memory\0", 7};

[[noreturn]] void fail(const ProcessMemory& memory, const std::string& why) {
  throw Error(ErrorKind::unsupported, memory.source().name(), std::nullopt,
              why + " (give --executable or --debug-file of just this QEMU)");
}

using Mappings = std::vector<const Mapping*>;

std::unordered_set<std::uint64_t> find_names(const ProcessMemory& memory, const Mappings& where) {
  std::unordered_set<std::uint64_t> names;
  for (const Mapping* mapping : where) {
    for_each_word(memory, *mapping, [&](ProcessAddr at, std::span<const std::byte, 8> word) {
      if (std::memcmp(word.data(), kName.data(), kName.size()) == 0) names.insert(at.value);
      return names.size() < kMostStrings;
    });
  }
  return names;
}

/// Addresses of words that hold one of `targets`.
std::vector<ProcessAddr> find_pointers(const ProcessMemory& memory, const Mappings& where,
                                       const std::unordered_set<std::uint64_t>& targets) {
  std::vector<ProcessAddr> pointers;
  if (targets.empty()) return pointers;
  const auto [low, high] = std::minmax_element(targets.begin(), targets.end());
  const std::uint64_t lowest = *low;
  const std::uint64_t highest = *high;
  for (const Mapping* mapping : where) {
    for_each_word(memory, *mapping, [&](ProcessAddr at, std::span<const std::byte, 8> word) {
      const auto value = load<std::uint64_t>(word, memory.order());
      if (value >= lowest && value <= highest && targets.contains(value)) pointers.push_back(at);
      return pointers.size() < kMostCandidates;
    });
  }
  return pointers;
}

bool same_map(const FlatMap& a, const FlatMap& b) {
  return a.ram == b.ram &&
         std::equal(a.blocks.begin(), a.blocks.end(), b.blocks.begin(), b.blocks.end(),
                    [](const Block& x, const Block& y) { return x.host == y.host; });
}

/// A guest that knows where its memory lies in the process could write a map of its own there.
bool lies_in_blocks(const FlatMap& map, const FlatMap& other) {
  return std::any_of(other.blocks.begin(), other.blocks.end(),
                     [&](const Block& block) { return block.host.contains(map.address_space); });
}

std::vector<FoundMap> distinct(const std::vector<FoundMap>& found) {
  std::vector<FoundMap> kept;
  for (const FoundMap& one : found) {
    const bool known = std::any_of(kept.begin(), kept.end(), [&](const FoundMap& other) {
      return same_map(one.map, other.map);
    });
    const bool forged = std::any_of(found.begin(), found.end(), [&](const FoundMap& other) {
      return lies_in_blocks(one.map, other.map);
    });
    if (!known && !forged) kept.push_back(one);
  }
  return kept;
}

}  // namespace

bool for_each_word(const ProcessMemory& memory, const Mapping& mapping,
                   const std::function<bool(ProcessAddr, std::span<const std::byte, 8>)>& visit) {
  std::vector<std::byte> bytes;
  const std::uint64_t skip = -mapping.range.begin().value % 8;
  for (std::uint64_t at = skip; at + 8 <= mapping.stored; at += bytes.size()) {
    const std::uint64_t left = (mapping.stored - at) / 8 * 8;
    bytes.resize(static_cast<std::size_t>(std::min<std::uint64_t>(kReadSize, left)));
    memory.source().read_at(mapping.at + at, bytes);
    for (std::size_t i = 0; i < bytes.size(); i += 8) {
      const std::span<const std::byte, 8> word(bytes.data() + i, 8);
      if (!visit(mapping.range.begin() + (at + i), word)) return false;
    }
  }
  return true;
}

std::vector<const Mapping*> searched_mappings(const ProcessMemory& memory, bool large) {
  std::vector<const Mapping*> found;
  for (const Mapping& mapping : memory.mappings()) {
    if (mapping.writable && mapping.stored != 0 && (mapping.stored > kLargeMapping) == large)
      found.push_back(&mapping);
  }
  return found;
}

std::optional<FoundMap> try_address_space(ProcessMemory& memory, std::span<const Layout> layouts,
                                          ProcessAddr at, Budget& budget, std::string& reason) {
  std::size_t progress = 0;
  for (const Layout& layout : layouts) {
    Checked checked = check_address_space(memory, layout, at, budget);
    if (checked.map) return FoundMap{std::move(*checked.map), &layout};
    if (checked.progress > progress) {
      progress = checked.progress;
      reason = checked.reason;
    }
  }
  return std::nullopt;
}

FoundMap search_address_space(ProcessMemory& memory) {
  std::string reason;
  std::size_t progress = 0;
  Budget budget;
  Mappings where = searched_mappings(memory, false);
  for (const bool large : {false, true}) {
    if (large) {
      const Mappings more = searched_mappings(memory, true);
      if (more.empty()) break;
      where.insert(where.end(), more.begin(), more.end());
    }
    const auto names = find_names(memory, where);
    const auto pointers = find_pointers(memory, where, names);
    if (names.size() >= kMostStrings || pointers.size() >= kMostCandidates)
      fail(memory, "the process holds too many words that could name its address space");
    std::vector<FoundMap> found;
    for (const Layout& layout : known_layouts()) {
      for (const ProcessAddr pointer : pointers) {
        if (pointer.value < layout.address_space.name) continue;
        const ProcessAddr at{pointer.value - layout.address_space.name};
        Checked checked = check_address_space(memory, layout, at, budget);
        if (checked.map) found.push_back({std::move(*checked.map), &layout});
        if (found.size() > kMostFound) break;
        if (checked.progress > progress) {
          progress = checked.progress;
          reason = checked.reason;
        }
      }
    }
    if (found.empty()) continue;
    std::vector<FoundMap> kept = distinct(found);
    if (kept.size() == 1) return std::move(kept.front());
    fail(memory, "the process holds several address spaces \"memory\" that could be the guest's");
  }
  fail(memory, "no address space \"memory\" with a convincing memory map was found in the process" +
                   (reason.empty() ? "" : ": " + reason));
}

}  // namespace vmconvert::qemu_core
