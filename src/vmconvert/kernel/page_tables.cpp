#include "vmconvert/kernel/page_tables.h"

#include <algorithm>

#include "vmconvert/base/packed.h"

namespace vmconvert {
namespace {

using Kind = PageTableEntry::Kind;

// Tables a walk over a range may read: those of 64 GiB mapped by single pages. Hostile tables may
// refer to each other, so that following all of them would never end.
constexpr std::size_t kMostTables = 32768;
constexpr std::size_t kLargestEntry = 8;
constexpr unsigned kLinearShift = 12;  // pieces in which a linear mapping is read

constexpr std::uint64_t low_bits(unsigned n) { return (std::uint64_t{1} << n) - 1; }

std::uint64_t load_entry(const PagingMode& mode, std::span<const std::byte> bytes) {
  return mode.entry_size == 4 ? load<std::uint32_t>(bytes, mode.order)
                              : load<std::uint64_t>(bytes, mode.order);
}

bool is_covered(const PagingMode& mode, GuestVirtAddr at) {
  const std::uint64_t upper = at.value & mode.fixed_bits;
  return upper == mode.fixed_values[0] || upper == mode.fixed_values[1];
}

/// The parts of `range` that the tables translate; the very last byte of all addresses is left out.
std::vector<VirtualRange> covered(const PagingMode& mode, VirtualRange range) {
  std::vector<VirtualRange> parts;
  for (std::size_t i = 0; i < mode.fixed_values.size(); ++i) {
    if (i > 0 && mode.fixed_values[i] == mode.fixed_values[0]) break;
    const std::uint64_t first = mode.fixed_values[i], last = first | ~mode.fixed_bits;
    const auto all = VirtualRange::between({first}, {last == UINT64_MAX ? last : last + 1});
    if (const auto part = all.intersection(range); !part.empty()) parts.push_back(part);
  }
  return parts;
}

/// Visits a range of addresses in order, with each table on the way down read once.
class Walk {
 public:
  Walk(const GuestImage& image, const PagingMode& mode, std::size_t most)
      : image_(image), mode_(mode), most_(most) {}

  void over(GuestPhysAddr root, VirtualRange range) {
    path_.clear();
    open(root);
    for (GuestVirtAddr at = range.begin(); at < range.end() && tables_ <= kMostTables;) {
      const PageTableLevel level = mode_.levels[path_.size() - 1];
      const PageTableEntry found = entry_for(at, level);
      if (found.kind == Kind::table) {
        open({found.address});
        continue;
      }
      const std::uint64_t inside = at.value & low_bits(level.shift);
      const std::uint64_t step =
          std::min((std::uint64_t{1} << level.shift) - inside, range.end() - at);
      if (found.kind == Kind::page) {
        const GuestPhysAddr to{found.address + (at.value & low_bits(found.shift))};
        if (!add({VirtualRange::sized(at, step), to})) return;
      }
      at = at + step;
      leave_tables_ended_by(at);
    }
  }

  std::vector<Mapping> take() { return std::move(result_); }

 private:
  /// One that cannot be read has no entries.
  void open(GuestPhysAddr at) {
    std::vector<std::byte> bytes(std::size_t{mode_.entry_size} << mode_.levels[path_.size()].bits);
    if (++tables_ > kMostTables || !read_guest(image_, at, bytes)) bytes.clear();
    path_.push_back(std::move(bytes));
  }

  PageTableEntry entry_for(GuestVirtAddr at, PageTableLevel level) const {
    const std::vector<std::byte>& table = path_.back();
    if (table.empty()) return {};
    const auto index = static_cast<std::size_t>((at.value >> level.shift) & low_bits(level.bits));
    const auto raw = std::span(table).subspan(index * mode_.entry_size);
    return mode_.decode(mode_, load_entry(mode_, raw), path_.size() - 1);
  }

  void leave_tables_ended_by(GuestVirtAddr at) {
    while (path_.size() > 1 && (at.value & low_bits(mode_.levels[path_.size() - 2].shift)) == 0)
      path_.pop_back();
  }

  /// False if there are enough.
  bool add(const Mapping& mapping) {
    Mapping* last = result_.empty() ? nullptr : &result_.back();
    if (last != nullptr && last->guest_virtual.end() == mapping.guest_virtual.begin() &&
        last->guest_physical.value + last->guest_virtual.size() == mapping.guest_physical.value) {
      last->guest_virtual =
          VirtualRange::between(last->guest_virtual.begin(), mapping.guest_virtual.end());
      return true;
    }
    if (result_.size() == most_) return false;
    result_.push_back(mapping);
    return true;
  }

  const GuestImage& image_;
  const PagingMode& mode_;
  std::size_t most_;
  std::size_t tables_ = 0;
  std::vector<std::vector<std::byte>> path_;  ///< from the root to the table in use
  std::vector<Mapping> result_;
};

}  // namespace

std::optional<std::uint64_t> PageTables::entry(GuestPhysAddr table, std::uint64_t index) const {
  std::array<std::byte, kLargestEntry> buffer{};
  const auto bytes = std::span(buffer).first(mode_.entry_size);
  const auto before = GuestRange::try_sized(table, index * mode_.entry_size);
  if (!before || !read_guest(*image_, before->end(), bytes)) return std::nullopt;
  return load_entry(mode_, bytes);
}

std::optional<GuestPhysAddr> PageTables::translate(GuestVirtAddr at) const {
  if (!is_covered(mode_, at)) return std::nullopt;
  if (mode_.linear) return GuestPhysAddr{at.value - *mode_.linear};
  GuestPhysAddr table = root_;
  for (std::size_t depth = 0; depth < mode_.levels.size(); ++depth) {
    const PageTableLevel level = mode_.levels[depth];
    const auto raw = entry(table, (at.value >> level.shift) & low_bits(level.bits));
    if (!raw) return std::nullopt;
    const PageTableEntry decoded = mode_.decode(mode_, *raw, depth);
    if (decoded.kind == Kind::absent) return std::nullopt;
    if (decoded.kind == Kind::page)
      return GuestPhysAddr{decoded.address + (at.value & low_bits(decoded.shift))};
    table = {decoded.address};
  }
  return std::nullopt;
}

std::vector<Mapping> PageTables::mappings(VirtualRange range, std::size_t most) const {
  if (!mode_.linear) {
    Walk walk(*image_, mode_, most);
    for (const VirtualRange part : covered(mode_, range)) walk.over(root_, part);
    return walk.take();
  }
  std::vector<Mapping> result;
  for (const VirtualRange part : covered(mode_, range))
    result.push_back({part, {part.begin().value - *mode_.linear}});
  return result;
}

bool PageTables::read(GuestVirtAddr at, std::span<std::byte> out) const {
  const unsigned page_shift = mode_.linear ? kLinearShift : mode_.levels.back().shift;
  if (!VirtualRange::try_sized(at, out.size())) return false;
  while (!out.empty()) {
    const auto from = translate(at);
    const std::uint64_t left = (std::uint64_t{1} << page_shift) - (at.value & low_bits(page_shift));
    const auto part =
        out.first(static_cast<std::size_t>(std::min<std::uint64_t>(left, out.size())));
    if (!from || !read_guest(*image_, *from, part)) return false;
    out = out.subspan(part.size());
    if (!out.empty()) at = at + part.size();
  }
  return true;
}

std::optional<std::uint64_t> PageTables::read_pointer(GuestVirtAddr at) const {
  std::array<std::byte, 8> buffer{};
  const auto bytes = std::span(buffer).first(pointer_size());
  if (!read(at, bytes)) return std::nullopt;
  return pointer_size() == 4 ? load<std::uint32_t>(bytes, guest_order())
                             : load<std::uint64_t>(bytes, guest_order());
}

}  // namespace vmconvert
