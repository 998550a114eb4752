#include "qemu_core/memory_structures.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "vmconvert/base/text.h"

namespace vmconvert::qemu_core {
namespace {

constexpr std::string_view kName = "memory";
constexpr std::uint32_t kMostRanges = 1U << 16;  // a guest with 10,000 virtio-mem parts has 10,000
constexpr std::size_t kMostBlocks = 1U << 12;
constexpr std::uint64_t kHostPage = 4096;
constexpr std::size_t kIdSize = 256;
constexpr std::size_t kTypeNameSize = 128;
constexpr unsigned kMostParents = 16;
constexpr std::uint32_t kMostAsked = 256;  // ranges whose device may tell the machine

/// A structure that is not what it should be. Never leaves this file.
struct Refused {
  std::string reason;
};

class Walker {
 public:
  Walker(ProcessMemory& memory, const Layout& layout, Budget& budget)
      : memory_(memory), layout_(layout), budget_(budget) {}

  std::size_t progress() const { return progress_; }

  FlatMap walk(ProcessAddr at) {
    map_.address_space = at;
    if (memory_.text(pointer(at, layout_.address_space.name, "AddressSpace.name"),
                     kName.size() + 1) != kName) {
      throw Refused{"AddressSpace.name is not \"memory\""};
    }
    const ProcessAddr view = pointer(at, layout_.address_space.current_map, "current_map");
    const ProcessAddr ranges = pointer(view, layout_.flat_view.ranges, "FlatView.ranges");
    const auto count = value<std::uint32_t>(view, layout_.flat_view.nr, "FlatView.nr");
    if (count == 0 || count > kMostRanges || count > budget_.structures)
      throw Refused{"FlatView.nr is " + std::to_string(count)};
    budget_.structures -= count;
    places_ = {at, view, ranges};
    for (std::uint32_t i = 0; i < count; ++i) {
      const auto place =
          ProcessRange::try_sized(ranges, std::uint64_t{i} * layout_.flat_range.size);
      number_ = i;
      if (!place) throw Refused{"FlatView.ranges reaches beyond 64 bits"};
      read_range(place->end());
    }
    if (map_.ram.empty()) throw Refused{"its memory map holds no RAM"};
    visible_ = map_.blocks.size();
    read_other_blocks();
    check_hosts();
    return std::move(map_);
  }

 private:
  template <class T>
  T value(ProcessAddr base, std::uint64_t offset, std::string_view field) {
    ++progress_;
    if (const auto found = memory_.load_at<T>(base, offset)) return *found;
    throw Refused{std::string(field) + " at " + hex(base.value) + " is not in the core"};
  }
  ProcessAddr pointer(ProcessAddr base, std::uint64_t offset, std::string_view field) {
    const ProcessAddr found{value<std::uint64_t>(base, offset, field)};
    if (found.value == 0) throw Refused{std::string(field) + " is a null pointer"};
    return found;
  }
  bool flag(ProcessAddr base, std::uint64_t offset, std::string_view field) {
    const auto found = value<std::uint8_t>(base, offset, field);
    if (found > 1) throw Refused{std::string(field) + " is no truth value"};
    return found == 1;
  }
  /// An Int128, of which only the low half may be used; 2^64 gives nothing.
  std::optional<std::uint64_t> int128(ProcessAddr base, std::uint64_t offset,
                                      std::string_view field) {
    const bool big = memory_.order() == std::endian::big;
    const auto low = value<std::uint64_t>(base, offset + (big ? 8 : 0), field);
    const auto high = value<std::uint64_t>(base, offset + (big ? 0 : 8), field);
    if (high == 0) return low;
    if (high == 1 && low == 0) return std::nullopt;
    throw Refused{std::string(field) + " is no address"};
  }
  std::string range_name() const { return "FlatRange " + std::to_string(number_); }

  void read_range(ProcessAddr at) {
    const auto start = int128(at, layout_.flat_range.start, "FlatRange.addr.start");
    const auto length = int128(at, layout_.flat_range.length, "FlatRange.addr.size");
    const ProcessAddr region = pointer(at, layout_.flat_range.mr, "FlatRange.mr");
    const auto offset =
        value<std::uint64_t>(at, layout_.flat_range.offset_in_region, "offset_in_region");
    if (!start || length == 0U) throw Refused{range_name() + " is empty or lies nowhere"};
    if (full_ || *start < end_) throw Refused{range_name() + " overlaps the one before it"};
    // I/O may reach up to 2^64.
    const auto guest = length ? GuestRange::try_sized({*start}, *length) : std::nullopt;
    if (!guest && (length ? *start + *length : *start) != 0)
      throw Refused{range_name() + " wraps around"};
    full_ = !guest;
    if (guest) end_ = guest->end().value;
    const bool ram = flag(region, layout_.memory_region.ram, "MemoryRegion.ram");
    if (map_.machine.empty() && number_ < kMostAsked) find_machine(region);
    if (!ram) return;
    if (!guest) throw Refused{range_name() + " wraps around"};
    add_ram(*guest, region, offset);
  }

  void add_ram(GuestRange guest, ProcessAddr region, std::uint64_t offset) {
    const auto& fields = layout_.memory_region;
    const ProcessAddr block = pointer(region, fields.ram_block, "MemoryRegion.ram_block");
    if (!flag(region, fields.terminates, "MemoryRegion.terminates"))
      throw Refused{range_name() + " is of a region that does not terminate"};
    const auto used = ProcessRange::try_sized({offset}, guest.size());
    const auto region_size = int128(region, fields.size, "MemoryRegion.size");
    VisibleRam ram{.guest = guest,
                   .block = find_block(block, region),
                   .offset = offset,
                   .readonly = flag(region, fields.readonly, "MemoryRegion.readonly"),
                   .device = flag(region, fields.ram_device, "MemoryRegion.ram_device"),
                   .nonvolatile = flag(region, fields.nonvolatile, "MemoryRegion.nonvolatile")};
    if (!used || !region_size || used->end().value > *region_size ||
        used->end().value > map_.blocks[ram.block].host.size()) {
      throw Refused{range_name() + " reaches beyond its region or block"};
    }
    map_.ram.push_back(ram);
  }

  std::size_t find_block(ProcessAddr at, ProcessAddr region) {
    if (const auto known = indices_.find(at); known != indices_.end()) return known->second;
    Block block = read_block(at, region);
    block.dump = read_dump(region, block.host.size());
    places_.push_back(region);
    return add_block(std::move(block));
  }

  std::size_t add_block(Block block) {
    if (map_.blocks.size() == kMostBlocks || budget_.structures == 0)
      throw Refused{"there are too many RAMBlocks"};
    --budget_.structures;
    places_.push_back(block.at);
    indices_.emplace(block.at, map_.blocks.size());
    map_.blocks.push_back(std::move(block));
    return map_.blocks.size() - 1;
  }

  Block read_block(ProcessAddr at, ProcessAddr region) {
    const auto& fields = layout_.ram_block;
    if (pointer(at, fields.mr, "RAMBlock.mr") != region)
      throw Refused{"RAMBlock.mr at " + hex(at.value) + " does not lead back to its region"};
    const ProcessAddr host = pointer(at, fields.host, "RAMBlock.host");
    const auto used = value<std::uint64_t>(at, fields.used_length, "RAMBlock.used_length");
    const auto most = value<std::uint64_t>(at, fields.max_length, "RAMBlock.max_length");
    const auto range = ProcessRange::try_sized(host, used);
    if (host.value % kHostPage != 0 || !range || used > most || used == 0)
      throw Refused{"RAMBlock at " + hex(at.value) + " has no usable place or size"};
    const auto id = ProcessRange::try_sized(at, fields.idstr);
    const auto name = id ? memory_.text(id->end(), kIdSize) : std::nullopt;
    if (!name || std::any_of(name->begin(), name->end(), [](char c) { return c < ' ' || c > '~'; }))
      throw Refused{"RAMBlock.idstr at " + hex(at.value) + " is no name"};
    return {at, *name, *range, std::nullopt};
  }

  /// HostMemoryBackend.dump of the backend that owns the region.
  std::optional<bool> read_dump(ProcessAddr region, std::uint64_t size) {
    const auto& fields = layout_.host_memory_backend;
    const auto owner = memory_.pointer_at(region, layout_.memory_region.owner);
    if (!owner || owner->value == 0) return std::nullopt;
    const auto type = object_type(memory_, layout_, *owner);
    const auto backend_size = memory_.load_at<std::uint64_t>(*owner, fields.size);
    const auto dump = memory_.load_at<std::uint8_t>(*owner, fields.dump);
    const bool known = type && type->starts_with("memory-backend-") && backend_size == size;
    if (!known || !dump || *dump > 1) return std::nullopt;
    return *dump == 1;
  }

  /// The machine is an ancestor of the device that owns the region.
  void find_machine(ProcessAddr region) {
    constexpr std::string_view kSuffix = "-machine";
    auto object = memory_.pointer_at(region, layout_.memory_region.owner);
    for (unsigned i = 0; i < kMostParents && object && object->value != 0; ++i) {
      const auto type = object_type(memory_, layout_, *object);
      if (!type) return;
      if (type->ends_with(kSuffix)) {
        map_.machine = type->substr(0, type->size() - kSuffix.size());
        return;
      }
      object = memory_.pointer_at(*object, layout_.object.parent);
    }
  }

  /// Blocks that the guest does not see, as far as the list leads to them: it is sorted by size.
  void read_other_blocks() {
    for (std::size_t i = 0; i < map_.blocks.size() && map_.blocks.size() < kMostBlocks; ++i) {
      const auto next = memory_.pointer_at(map_.blocks[i].at, layout_.ram_block.next);
      if (!next || next->value == 0 || indices_.contains(*next)) continue;
      const auto region = memory_.pointer_at(*next, layout_.ram_block.mr);
      if (!region || memory_.pointer_at(*region, layout_.memory_region.ram_block) != *next)
        continue;
      try {
        add_block(read_block(*next, *region));
      } catch (const Refused&) {  // freed, or not yet complete
        continue;
      }
    }
  }

  /// Blocks that the guest sees do not share memory, and no guest can write to these structures.
  void check_hosts() const {
    std::set<std::size_t> devices;
    for (const VisibleRam& ram : map_.ram) {
      if (ram.device) devices.insert(ram.block);
    }
    std::vector<std::size_t> order(map_.blocks.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return map_.blocks[a].host.begin() < map_.blocks[b].host.begin();
    });
    std::optional<std::size_t> before;
    for (const std::size_t i : order) {
      if (i >= visible_ || devices.contains(i)) continue;
      if (before && map_.blocks[*before].host.overlaps(map_.blocks[i].host)) {
        throw Refused{"RAM blocks " + quoted(map_.blocks[*before].name) + " and " +
                      quoted(map_.blocks[i].name) + " lie in the same memory"};
      }
      before = i;
    }
    check_places(order);
  }

  /// @param order  of the blocks by host address
  void check_places(const std::vector<std::size_t>& order) const {
    std::vector<ProcessAddr> ends;  // of this block and all before it
    for (const std::size_t i : order) {
      const ProcessAddr end = map_.blocks[i].host.end();
      ends.push_back(ends.empty() ? end : std::max(ends.back(), end));
    }
    for (const ProcessAddr place : places_) {
      const auto after = std::partition_point(order.begin(), order.end(), [&](std::size_t i) {
        return map_.blocks[i].host.begin() <= place;
      });
      if (after != order.begin() &&
          ends[static_cast<std::size_t>(after - order.begin()) - 1] > place)
        throw Refused{"the structure at " + hex(place.value) + " lies in guest memory"};
    }
  }

  ProcessMemory& memory_;
  const Layout& layout_;
  Budget& budget_;
  FlatMap map_;
  std::map<ProcessAddr, std::size_t> indices_;
  std::vector<ProcessAddr> places_;  ///< of the structures
  std::size_t visible_ = 0;          ///< blocks that the guest sees; the others follow
  std::size_t progress_ = 0;         ///< fields read
  std::uint32_t number_ = 0;
  std::uint64_t end_ = 0;  ///< of the range read last
  bool full_ = false;      ///< it reaches up to 2^64
};

}  // namespace

Checked check_address_space(ProcessMemory& memory, const Layout& layout, ProcessAddr at,
                            Budget& budget) {
  Walker walker(memory, layout, budget);
  try {
    return {walker.walk(at), "", 0};
  } catch (const Refused& refused) {
    return {std::nullopt, refused.reason, walker.progress()};
  }
}

std::optional<std::string> object_type(ProcessMemory& memory, const Layout& layout,
                                       ProcessAddr at) {
  const auto& fields = layout.object;
  const auto klass = memory.pointer_at(at, fields.klass);
  const auto type = klass ? memory.pointer_at(*klass, fields.type) : std::nullopt;
  const auto name = type ? memory.pointer_at(*type, fields.type_name) : std::nullopt;
  return name ? memory.text(*name, kTypeNameSize) : std::nullopt;
}

}  // namespace vmconvert::qemu_core
