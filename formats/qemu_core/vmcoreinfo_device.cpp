#include "qemu_core/vmcoreinfo_device.h"

#include <algorithm>
#include <array>
#include <set>

#include "qemu_core/memory_structures.h"
#include "qemu_core/structure_search.h"
#include "vmconvert/base/packed.h"
#include "vmconvert/base/text.h"

namespace vmconvert::qemu_core {
namespace {

// Truth: QEMU, docs/specs/vmcoreinfo.rst and hw/misc/vmcoreinfo.c. What the guest writes,
// little-endian on every host: u16 host_format, u16 guest_format, u32 size, u64 paddr.
constexpr std::size_t kStateSize = 16;
constexpr std::uint16_t kFormatElf = 1;
constexpr std::uint32_t kSmallestNote = 24, kLargestNote = 1U << 20;
constexpr std::string_view kNoteName{"VMCOREINFO\0\0", 12};  // padded
constexpr std::size_t kNameAt = 12, kTextAt = 24;
constexpr std::string_view kDeviceType = "vmcoreinfo";
constexpr std::uint64_t kLargestDevice = 1024;  // DeviceState has about 160 bytes
constexpr std::size_t kMostNotes = 1024;        // guest addresses looked at

struct Announced {
  std::uint16_t guest_format = 0;
  std::uint32_t size = 0;
  GuestPhysAddr paddr;
  bool plausible() const {
    return guest_format == kFormatElf && size >= kSmallestNote && size <= kLargestNote;
  }
};

Announced parse(std::span<const std::byte> state) {
  return {load<std::uint16_t>(state.subspan(2), std::endian::little),
          load<std::uint32_t>(state.subspan(4), std::endian::little),
          {load<std::uint64_t>(state.subspan(8), std::endian::little)}};
}

/// The text of the note, if there is one at this place.
std::optional<std::string> read_note(const GuestImage& image, const Announced& announced) {
  std::array<std::byte, kTextAt> head{};
  if (!read_guest(image, announced.paddr, head)) return std::nullopt;
  const std::string_view name(reinterpret_cast<const char*>(head.data()) + kNameAt,
                              kNoteName.size());
  const auto namesz = load<std::uint32_t>(head, image.byte_order);
  const auto descsz = load<std::uint32_t>(std::span(head).subspan(4), image.byte_order);
  if (name != kNoteName || namesz != kNoteName.size() - 1) return std::nullopt;
  if (descsz > announced.size - kTextAt) return std::nullopt;
  std::string text(descsz, '\0');
  const auto at = GuestRange::try_sized(announced.paddr, kTextAt);
  if (!at || !read_guest(image, at->end(), std::as_writable_bytes(std::span(text))))
    return std::nullopt;
  return text;
}

/// True if one of the objects that could hold the field at `at` is a vmcoreinfo device.
bool is_in_device(ProcessMemory& memory, const Layout& layout, ProcessAddr at) {
  for (std::uint64_t back = 0; back <= kLargestDevice && back <= at.value; back += 8) {
    if (object_type(memory, layout, {at.value - back}) == kDeviceType) return true;
  }
  return false;
}

Vmcoreinfo found_note(std::string text, const Announced& announced, const ProcessMemory& memory,
                      Diagnostics& diagnostics) {
  const std::string where = "guest address " + hex(announced.paddr.value);
  diagnostics.decision(memory.source().name(), "VMCOREINFO of " + counted(text.size(), "byte") +
                                                   " from the vmcoreinfo device, " + where);
  return {std::move(text), "vmcoreinfo device in the process, " + where};
}

class Search {
 public:
  Search(const GuestImage& image, ProcessMemory& memory, const FlatMap& map, const Layout& layout)
      : image_(image), memory_(memory), layout_(layout) {
    for (const Block& block : map.blocks) hosts_.push_back(block.host);
    std::sort(hosts_.begin(), hosts_.end(),
              [](const ProcessRange& a, const ProcessRange& b) { return a.begin() < b.begin(); });
  }

  /// The device's state is a bool that is set, padding, and then what the guest wrote.
  std::vector<Announced> run() {
    for (const Mapping* mapping : searched_mappings(memory_, false)) {
      if (is_guest_memory(*mapping)) continue;
      previous_.fill(0);
      for_each_word(memory_, *mapping, [&](ProcessAddr at, std::span<const std::byte, 8> word) {
        const std::uint64_t value = load<std::uint64_t>(word, std::endian::little);
        if (previous_[0] == 1 && at.value >= kStateSize) look(at, value);
        previous_ = {previous_[1], value};
        return looked_at_.size() < kMostNotes;
      });
    }
    return found_;
  }

  std::string text_of(const Announced& announced) const {
    return read_note(image_, announced).value_or("");
  }

 private:
  bool is_guest_memory(const Mapping& mapping) const {
    const auto after = std::partition_point(
        hosts_.begin(), hosts_.end(),
        [&](const ProcessRange& host) { return host.end() <= mapping.range.begin(); });
    return after != hosts_.end() && after->overlaps(mapping.range);
  }

  void look(ProcessAddr at, std::uint64_t paddr) {
    const Announced announced{static_cast<std::uint16_t>(previous_[1] >> 16),
                              static_cast<std::uint32_t>(previous_[1] >> 32),
                              {paddr}};
    if (!announced.plausible() || !looked_at_.insert({paddr, announced.size}).second) return;
    if (!read_note(image_, announced)) return;
    if (is_in_device(memory_, layout_, {at.value - kStateSize})) found_.push_back(announced);
  }

  const GuestImage& image_;
  ProcessMemory& memory_;
  const Layout& layout_;
  std::vector<ProcessRange> hosts_;          ///< memory that the guest can write to
  std::array<std::uint64_t, 2> previous_{};  ///< the two words before
  std::set<std::pair<std::uint64_t, std::uint32_t>> looked_at_;
  std::vector<Announced> found_;
};

}  // namespace

std::optional<Vmcoreinfo> find_vmcoreinfo(const GuestImage& image, ProcessMemory& memory,
                                          const FlatMap& map, const Layout& layout,
                                          std::optional<ProcessAddr> device,
                                          Diagnostics& diagnostics) {
  const std::string& name = memory.source().name();
  if (device) {
    const auto has = memory.load_at<std::uint8_t>(*device, layout.vmcoreinfo_state.has_vmcoreinfo);
    const auto place = ProcessRange::try_sized(*device, layout.vmcoreinfo_state.vmcoreinfo);
    std::array<std::byte, kStateSize> state{};
    const Announced announced =
        has == 1 && place && memory.read(place->end(), state) ? parse(state) : Announced{};
    if (announced.plausible()) {
      if (auto text = read_note(image, announced))
        return found_note(std::move(*text), announced, memory, diagnostics);
      diagnostics.warn(name, "VMCOREINFO at guest address " + hex(announced.paddr.value) +
                                 " is not a VMCOREINFO note, not used");
      return std::nullopt;
    }
  } else {
    Search search(image, memory, map, layout);
    const std::vector<Announced> found = search.run();
    if (found.size() == 1)
      return found_note(search.text_of(found[0]), found[0], memory, diagnostics);
    if (found.size() > 1) {
      diagnostics.warn(name, "several VMCOREINFO notes could be the guest's, none is used");
      return std::nullopt;
    }
  }
  diagnostics.decision(name,
                       "no VMCOREINFO: the guest did not announce one to the vmcoreinfo device");
  return std::nullopt;
}

}  // namespace vmconvert::qemu_core
