#include "qemu_core/guest_memory.h"

#include <algorithm>
#include <array>
#include <set>

#include "vmconvert/base/text.h"

namespace vmconvert::qemu_core {
namespace {

constexpr std::uint32_t kPage = 4096;
constexpr std::uint64_t kLegacyEnd = 0x100000;
// A guest may see one block in many places, and a core may have many mappings.
constexpr std::size_t kMostParts = std::size_t{1} << 21;

/// Video memory, and blocks of devices. PCI devices name their blocks "PATH/vga.vram".
bool is_device_block(std::string_view name) {
  constexpr std::array<std::string_view, 4> kSuffixes{".vram", "-vram", ".vgavram", ".fifo"};
  constexpr std::array<std::string_view, 3> kPrefixes{"ivshmem", "tpm-ppi", "sgx"};
  const std::string_view id = name.substr(name.rfind('/') + 1);
  return std::any_of(kSuffixes.begin(), kSuffixes.end(),
                     [&](std::string_view s) { return id.ends_with(s); }) ||
         std::any_of(kPrefixes.begin(), kPrefixes.end(),
                     [&](std::string_view s) { return id.starts_with(s); });
}

std::string range_text(GuestRange range) {
  return hex(range.begin().value) + "-" + hex(range.end().value);
}

class Collector {
 public:
  Collector(const ProcessMemory& memory, const ProcessNotes& notes, const FlatMap& map, Arch arch,
            bool salvage, Diagnostics& diagnostics)
      : memory_(memory),
        notes_(notes),
        map_(map),
        is_x86_(arch == Arch::x86_64 || arch == Arch::i386),
        salvage_(salvage),
        diagnostics_(diagnostics) {}

  RunList collect() {
    for (const VisibleRam& ram : map_.ram) {
      const Block& block = map_.blocks[ram.block];
      const std::string_view why_not = left_out(ram, block);
      diagnostics_.report(Diagnostics::Level::detail, name(), std::nullopt,
                          "guest " + range_text(ram.guest) + ": block " + printable(block.name) +
                              " from " + hex(ram.offset) + " on" +
                              (why_not.empty() ? "" : ", left out: " + std::string(why_not)));
      if (why_not.empty()) add(ram, block);
    }
    report_missing();
    return runs_.finish();
  }

 private:
  const std::string& name() const { return memory_.source().name(); }

  std::string_view left_out(const VisibleRam& ram, const Block& block) const {
    if (ram.nonvolatile) return "an NVDIMM";
    if (ram.device) return "memory of a host device";
    if (is_device_block(block.name)) return "memory of a device";
    if (ram.readonly && !(is_x86_ && ram.guest.end().value <= kLegacyEnd)) return "a ROM";
    return "";
  }

  void add(const VisibleRam& ram, const Block& block) {
    const auto host = ProcessRange::sized(block.host.begin() + ram.offset, ram.guest.size());
    const std::vector<MappedPart> parts = memory_.parts(host);
    count_ += parts.size();
    if (count_ > kMostParts) {
      throw Error(ErrorKind::unsupported, name(), std::nullopt,
                  "guest memory lies in more than " + std::to_string(kMostParts) + " pieces");
    }
    for (const MappedPart& part : parts) {
      const auto guest = GuestRange::sized(ram.guest.begin() + (part.range.begin() - host.begin()),
                                           part.range.size());
      if (part.stored) {
        runs_.add({guest, InFile{.source = 0, .stride = kPage, .at = part.at}});
      } else if (never_touched(part, block)) {
        runs_.add({guest, Filled{std::byte{0}}});
      } else if (!ram.readonly) {
        miss(guest, part, block);
      }
    }
  }

  /// The kernel leaves out private anonymous mappings that were never written to. Nothing else
  /// makes it do so here: QEMU did not ask for it, and QEMU's heap, which is such memory too, is in
  /// the core. Shared memory and huge pages are files to the kernel.
  bool never_touched(const MappedPart& part, const Block& block) const {
    return part.mapping != nullptr && part.mapping->filesz == 0 && part.mapping->writable &&
           block.dump == true && notes_.has_files && notes_.find_file(part.range) == nullptr;
  }

  std::string why_missing(const MappedPart& part, const Block& block) const {
    if (part.mapping != nullptr &&
        part.range.begin() - part.mapping->range.begin() < part.mapping->filesz) {
      return "the core is cut off before it";
    }
    if (const MappedFile* file = notes_.find_file(part.range)) {
      return "it is the file " + quoted(file->path) +
             ", which the core leaves out (/proc/PID/coredump_filter)";
    }
    if (block.dump == false) {
      return "QEMU kept it out of the core (machine option dump-guest-core=off, or dump=off of its "
             "memory backend)";
    }
    return "the core leaves it out, and nothing tells whether the guest used it "
           "(dump-guest-core=off, or /proc/PID/coredump_filter)";
  }

  void miss(GuestRange guest, const MappedPart& part, const Block& block) {
    if (told_.insert(&block).second) {
      const std::string text = "memory block " + quoted(block.name) + " of " +
                               human_size(block.host.size()) +
                               " is not in the core: " + why_missing(part, block);
      if (!salvage_) throw Error(ErrorKind::unsupported, name(), std::nullopt, text);
      diagnostics_.loss(name(), std::nullopt, text);
    }
    if (!missing_.empty() && missing_.back().end() == guest.begin()) {
      missing_.back() = GuestRange::between(missing_.back().begin(), guest.end());
    } else {
      missing_.push_back(guest);
    }
  }

  void report_missing() {
    constexpr std::size_t kMostListed = 20;
    if (missing_.empty()) return;
    std::uint64_t bytes = 0;
    std::string list;
    for (std::size_t i = 0; i < missing_.size(); ++i) {
      bytes += missing_[i].size();
      if (i < kMostListed) list += " " + range_text(missing_[i]);
    }
    if (missing_.size() > kMostListed)
      list += " and " + counted(missing_.size() - kMostListed, "more range");
    diagnostics_.loss(name(), std::nullopt,
                      "no content for " + human_size(bytes) + " of guest memory, left out:" + list);
  }

  const ProcessMemory& memory_;
  const ProcessNotes& notes_;
  const FlatMap& map_;
  bool is_x86_;
  bool salvage_;
  Diagnostics& diagnostics_;
  RunListBuilder runs_{kPage};
  std::size_t count_ = 0;
  std::set<const Block*> told_;
  std::vector<GuestRange> missing_;
};

}  // namespace

RunList read_guest_memory(const ProcessMemory& memory, const ProcessNotes& notes,
                          const FlatMap& map, Arch arch, bool salvage, Diagnostics& diagnostics) {
  return Collector(memory, notes, map, arch, salvage, diagnostics).collect();
}

}  // namespace vmconvert::qemu_core
