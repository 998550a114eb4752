#include "qemu/x86_layout.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "vmconvert/base/error.h"
#include "vmconvert/base/packed.h"
#include "vmconvert/base/text.h"

namespace vmconvert::qemu {
namespace {

constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kMiB = 1024 * kKiB;
constexpr std::uint64_t k4GiB = std::uint64_t{1} << 32;
constexpr std::uint64_t kCmosUnit = 64 * kKiB;

std::uint64_t byte_at(const Cmos& cmos, std::size_t at) {
  return std::to_integer<std::uint64_t>(cmos[at]);
}

/// QEMU, hw/i386/pc.c, pc_cmos_init(): where boards tell the firmware how much RAM there is.
std::uint64_t cmos_below(const Cmos& cmos) {
  const std::uint64_t above_16m = byte_at(cmos, 0x34) | byte_at(cmos, 0x35) << 8;
  if (above_16m != 0) return 16 * kMiB + above_16m * kCmosUnit;
  const std::uint64_t above_1m = byte_at(cmos, 0x30) | byte_at(cmos, 0x31) << 8;
  return above_1m == 0 ? 0 : kMiB + above_1m * kKiB;
}

std::uint64_t cmos_above(const Cmos& cmos) {
  return (byte_at(cmos, 0x5b) | byte_at(cmos, 0x5c) << 8 | byte_at(cmos, 0x5d) << 16) * kCmosUnit;
}

/// True for versions below `major.minor` of upstream, and for RHEL 6, which is older than all of
/// them. Machine types of distributions otherwise behave as new ones.
bool is_older_than(std::string_view machine, unsigned major, unsigned minor) {
  if (machine.starts_with("rhel6") || machine.starts_with("rhel5")) return true;
  const auto dash = machine.rfind('-');
  if (dash == std::string_view::npos) return false;
  const std::string_view version = machine.substr(dash + 1);
  unsigned found_major = 0;
  unsigned found_minor = 0;
  const auto [dot, status] = std::from_chars(version.begin(), version.end(), found_major);
  if (status != std::errc{} || dot == version.end() || *dot != '.') return false;
  if (std::from_chars(dot + 1, version.end(), found_minor).ec != std::errc{}) return false;
  return found_major < major || (found_major == major && found_minor < minor);
}

/// QEMU, hw/i386/pc_piix.c, pc_q35.c, microvm.c and hw/i386/xen/xen-hvm.c. The property
/// max-ram-below-4g changes these; only the CMOS knows it.
std::uint64_t below_by_rule(const SplitFacts& facts) {
  const std::uint64_t ram = facts.ram_size;
  switch (facts.board) {
    case Board::q35: {
      const bool large = ram >= 0xb0000000 && !is_older_than(facts.machine, 2, 0);
      return std::min<std::uint64_t>(ram, large ? 0x80000000 : 0xb0000000);
    }
    case Board::microvm:
      return std::min<std::uint64_t>(ram, 0xc0000000);
    case Board::xenfv:
      return std::min<std::uint64_t>(ram, 0xf0000000);
    case Board::isapc:
      return std::min<std::uint64_t>(ram, 0xe0000000);
    case Board::i440fx:
      break;
  }
  if (ram < 0xe0000000) return ram;
  return is_older_than(facts.machine, 2, 0) ? 0xe0000000 : 0xc0000000;
}

std::uint64_t config_byte(const PciConfig& config, std::size_t at) {
  return std::to_integer<std::uint64_t>(config[at]);
}

// --- host bridge registers: QEMU, hw/pci-host/pam.c, i440fx.c, q35.c
// -------------------------------

struct PamSegment {
  std::uint64_t begin, size;
  std::size_t reg;  ///< counted from PAM0
  unsigned shift;
};

constexpr std::array kPamSegments{
    PamSegment{0xf0000, 0x10000, 0, 4}, PamSegment{0xc0000, 0x4000, 1, 0},
    PamSegment{0xc4000, 0x4000, 1, 4},  PamSegment{0xc8000, 0x4000, 2, 0},
    PamSegment{0xcc000, 0x4000, 2, 4},  PamSegment{0xd0000, 0x4000, 3, 0},
    PamSegment{0xd4000, 0x4000, 3, 4},  PamSegment{0xd8000, 0x4000, 4, 0},
    PamSegment{0xdc000, 0x4000, 4, 4},  PamSegment{0xe0000, 0x4000, 5, 0},
    PamSegment{0xe4000, 0x4000, 5, 4},  PamSegment{0xe8000, 0x4000, 6, 0},
    PamSegment{0xec000, 0x4000, 6, 4},
};
constexpr std::uint64_t kPamReadRam = 1;

constexpr std::size_t kI440fxPam0 = 0x59, kI440fxSmram = 0x72;
constexpr std::size_t kMchPam0 = 0x90, kMchSmbase = 0x9c, kMchSmram = 0x9d, kMchEsmramc = 0x9e,
                      kMchTsegMegabytes = 0x50;
constexpr std::uint64_t kSmramOpen = 0x40, kSmramEnabled = 0x08;
constexpr std::uint64_t kTsegEnabled = 0x01;
constexpr std::uint64_t kSmbaseLocked = 0x02;

constexpr GuestPhysAddr kVgaWindow{0xa0000};
constexpr std::uint64_t kVgaWindowSize = 0x20000;
constexpr std::uint64_t kOptionRoms = 0xc0000, kOptionRomsSize = 0x20000;
constexpr std::uint64_t kLegacyEnd = 0x100000;
constexpr std::uint64_t kIsaBiosSize = 128 * kKiB;

/// What the PCI side shows at [begin, begin + size) below 1 MiB.
void show_pci(MemoryMap& map, const LegacyBlocks& blocks, std::uint64_t begin, std::uint64_t size) {
  map.hide(GuestRange::sized({begin}, size));
  if (begin < kOptionRoms + kOptionRomsSize) {
    if (blocks.option_roms) {
      map.map(GuestRange::sized({begin}, size), *blocks.option_roms, begin - kOptionRoms);
    }
    return;
  }
  const std::uint64_t seen = std::min(kIsaBiosSize, blocks.bios_size);
  const std::uint64_t first = std::max(begin, kLegacyEnd - seen);
  if (blocks.bios && first < begin + size) {
    map.map(GuestRange::between({first}, {begin + size}), *blocks.bios,
            blocks.bios_size - (kLegacyEnd - first));
  }
}

std::uint64_t tseg_size(const PciConfig& config) {
  if ((config_byte(config, kMchEsmramc) & kTsegEnabled) == 0 ||
      (config_byte(config, kMchSmram) & kSmramEnabled) == 0) {
    return 0;
  }
  switch (config_byte(config, kMchEsmramc) >> 1 & 3) {
    case 0:
      return kMiB;
    case 1:
      return 2 * kMiB;
    case 2:
      return 8 * kMiB;
    default:
      return (config_byte(config, kMchTsegMegabytes) | config_byte(config, kMchTsegMegabytes + 1)
                                                           << 8) *
             kMiB;
  }
}

}  // namespace

std::optional<std::uint64_t> cmos_ram_size(const Cmos& cmos) {
  const std::uint64_t below = cmos_below(cmos);
  if (below == 0) return std::nullopt;
  return below + cmos_above(cmos);
}

Split choose_split(const SplitFacts& facts) {
  const std::uint64_t ram = facts.ram_size;
  if (facts.below_4g) {
    if (*facts.below_4g > std::min(ram, k4GiB) || *facts.below_4g == 0 ||
        *facts.below_4g % kCmosUnit != 0) {
      throw Error(ErrorKind::usage, "", std::nullopt,
                  "--below-4g " + human_size(*facts.below_4g) +
                      " is not a multiple of 64 KiB within main RAM (" + human_size(ram) +
                      ") and 4 GiB");
    }
    return {*facts.below_4g, "--below-4g"};
  }
  const std::uint64_t rule = below_by_rule(facts);
  const std::string rule_name = facts.machine.empty()
                                    ? "the board's rule"
                                    : "the rule of machine type " + printable(facts.machine);
  if (!facts.cmos) return {rule, rule_name};
  const std::uint64_t below = cmos_below(*facts.cmos);
  const std::uint64_t above = cmos_above(*facts.cmos);
  const bool fits = below != 0 && below <= k4GiB && below % 4096 == 0 && below + above <= ram &&
                    ram - below - above < kCmosUnit;
  if (!fits) return {rule, rule_name + ", as the CMOS does not agree with the size of RAM"};
  // Both numbers are rounded down to 64 KiB; a rule that agrees with them is exact.
  const auto is_rounded = [](std::uint64_t exact, std::uint64_t rounded) {
    return exact >= rounded && exact - rounded < kCmosUnit;
  };
  const bool rule_agrees = is_rounded(rule, below) && is_rounded(ram - rule, above);
  return {rule_agrees ? rule : above == 0 ? ram : below, "the CMOS RAM of the saved RTC"};
}

bool tells_relocated_ram(std::span<const std::byte> low_memory,
                         std::span<const std::byte> acpi_tables, std::uint64_t above) {
  struct E820Entry {
    le64 base, length;
    le32 type;
  };
  const E820Entry e820{kAmdRelocatedBase, above, 1U};
  const auto wanted = std::as_bytes(std::span(&e820, 1));
  // Not std::ranges::search: clang 14 cannot compile its result with libstdc++ 12.
  if (std::search(low_memory.begin(), low_memory.end(), wanted.begin(), wanted.end()) !=
      low_memory.end()) {
    return true;
  }
  // ACPI 6.5, 5.2.16.2, memory affinity structure: u8 type 1, u8 length 40, u32 domain, u16
  // reserved, u64 base, u64 length, u32 reserved, u32 flags (bit 1: hot-pluggable, thus not main
  // RAM). A node's share of RAM is as long as it is.
  constexpr std::size_t kBaseAt = 8, kFlagsAt = 28, kLength = 40;
  for (std::size_t at = 0; at + kLength <= acpi_tables.size(); ++at) {
    const auto entry = acpi_tables.subspan(at, kLength);
    if (entry[0] == std::byte{1} && entry[1] == std::byte{kLength} &&
        load<std::uint64_t>(entry.subspan(kBaseAt), std::endian::little) == kAmdRelocatedBase &&
        (entry[kFlagsAt] & std::byte{2}) == std::byte{0}) {
      return true;
    }
  }
  return false;
}

void overlay_legacy_area(MemoryMap& map, Board board, const std::optional<PciConfig>& host_bridge,
                         const LegacyBlocks& blocks, std::uint64_t below) {
  const GuestRange vga_window = GuestRange::sized(kVgaWindow, kVgaWindowSize);
  if (board == Board::isapc || board == Board::microvm) {
    if (blocks.vga) map.hide(vga_window);
    if (board == Board::isapc && blocks.option_roms)
      show_pci(map, blocks, kOptionRoms, kOptionRomsSize);
    if (blocks.bios) {
      const std::uint64_t seen = std::min(kIsaBiosSize, blocks.bios_size);
      show_pci(map, blocks, kLegacyEnd - seen, seen);
    }
    return;
  }
  const bool q35 = board == Board::q35;
  const bool open =
      host_bridge && (config_byte(*host_bridge, q35 ? kMchSmram : kI440fxSmram) & kSmramOpen) != 0;
  if (!open && blocks.vga) map.hide(vga_window);  // without one, RAM shows through
  if (!host_bridge) return;
  for (const PamSegment& segment : kPamSegments) {
    const std::uint64_t reg =
        config_byte(*host_bridge, (q35 ? kMchPam0 : kI440fxPam0) + segment.reg);
    if ((reg >> segment.shift & kPamReadRam) == 0)
      show_pci(map, blocks, segment.begin, segment.size);
  }
  if (!q35) return;
  if (const std::uint64_t size = std::min(tseg_size(*host_bridge), below); size != 0) {
    map.hide(GuestRange::sized({below - size}, size));
  }
  if ((config_byte(*host_bridge, kMchSmbase) & kSmbaseLocked) != 0) {
    map.hide(GuestRange::sized({0x30000}, 0x20000));
  }
}

}  // namespace vmconvert::qemu
