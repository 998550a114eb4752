#include "qemu/pc_board.h"

#include <algorithm>
#include <array>
#include <utility>

#include "qemu/guest_blocks.h"
#include "vmconvert/base/packed.h"
#include "vmconvert/base/text.h"

namespace vmconvert::qemu {
namespace {

constexpr std::uint64_t k4GiB = std::uint64_t{1} << 32;

/// The first `N` bytes of a section's payload from `skip` on.
template <std::size_t N>
std::optional<std::array<std::byte, N>> payload_bytes(const ByteSource& source,
                                                      const DeviceSection* section,
                                                      std::uint64_t skip) {
  if (section == nullptr || section->payload.size() < skip + N) return std::nullopt;
  std::array<std::byte, N> bytes{};
  source.read_at(section->payload.begin() + skip, bytes);
  return bytes;
}

std::pair<Board, std::string> board_of(const QevmStream& stream) {
  const std::string& machine = stream.machine;
  if (stream.find_section("mch") != nullptr || machine.find("q35") != std::string::npos)
    return {Board::q35, "q35"};
  if (machine == "microvm") return {Board::microvm, "microvm"};
  if (machine == "isapc") return {Board::isapc, "isapc"};
  if (machine.starts_with("xenfv")) return {Board::xenfv, "xenfv"};
  const bool searched = !stream.sections.empty();
  if (machine.empty() && searched && stream.find_section("I440FX") == nullptr)
    return {Board::isapc, "isapc"};
  return {Board::i440fx, "i440fx"};
}

}  // namespace

bool PcBoard::matches(const QevmStream& stream) {
  const std::string& machine = stream.machine;
  return machine.empty()
             ? find_block(stream.blocks, "pc.ram") || stream.find_section("I440FX") != nullptr
             : machine.starts_with("pc-") || machine.starts_with("rhel") || machine == "pc" ||
                   machine == "q35" || machine == "isapc" || machine == "microvm" ||
                   machine.starts_with("xenfv");
}

PcBoard::PcBoard(const QevmStream& stream, const ByteSource& source, Diagnostics& diagnostics)
    : stream_(&stream), source_(&source), diagnostics_(&diagnostics) {
  const auto [board, what] = board_of(stream);
  board_ = board;
  decide("machine type " +
         (stream.machine.empty() ? "unknown (before 2.4)" : printable(stream.machine)) +
         ", board " + what);
  cmos_ = payload_bytes<128>(source, stream.find_section("mc146818rtc"), 0);
}

void PcBoard::decide(const std::string& text) const {
  diagnostics_->decision(source_->name(), text);
}

std::optional<std::uint64_t> PcBoard::ram_size() const {
  return cmos_ ? cmos_ram_size(*cmos_) : std::nullopt;
}

MainRam PcBoard::layout(const std::vector<std::size_t>& main_ram,
                        std::optional<std::uint64_t> below_4g, const BlockHead& block_head) const {
  std::uint64_t ram_size = 0;
  for (const std::size_t block : main_ram) ram_size += stream_->blocks[block].used_length;
  const SplitFacts facts{board_, stream_->machine, ram_size, cmos_, below_4g};
  // xen.ram is allocated with the hole inside: its length counts the hole.
  const bool has_hole = board_ == Board::xenfv &&
                        stream_->blocks[main_ram.front()].name == "xen.ram" && ram_size > k4GiB;
  const Split split = choose_split(facts);
  const std::uint64_t below = split.below;
  const std::uint64_t above = ram_size - std::min(ram_size, has_hole ? k4GiB : below);
  const GuestPhysAddr above_base =
      above == 0 ? GuestPhysAddr{k4GiB} : choose_above_base(main_ram.front(), above, block_head);
  decide(human_size(below) + " of RAM from address 0 on" +
         (above == 0 ? "" : ", " + human_size(above) + " from " + hex(above_base.value) + " on") +
         " (from " + split.origin + ")");
  return {{{0, GuestRange::sized({0}, below)},
           {has_hole ? k4GiB : below, GuestRange::sized(above_base, above)}},
          above_base + above};
}

GuestPhysAddr PcBoard::choose_above_base(std::size_t first_block, std::uint64_t above,
                                         const BlockHead& block_head) const {
  constexpr std::uint64_t kSearched = 1024 * 1024;
  constexpr std::uint64_t kHyperTransport = 0xfd00000000;
  const auto low_memory = block_head(first_block, kSearched);
  const auto acpi = find_block(stream_->blocks, "/rom@etc/acpi/tables");
  const auto acpi_tables = acpi ? block_head(*acpi, kSearched) : std::vector<std::byte>();
  if (tells_relocated_ram(low_memory, acpi_tables, above)) {
    decide("the guest's memory map says that RAM above 4 GiB was relocated (AMD)");
    return {kAmdRelocatedBase};
  }
  if (k4GiB + above > kHyperTransport) {
    diagnostics_->warn(source_->name(), "RAM above 4 GiB reaches beyond " + hex(kHyperTransport) +
                                            "; if this is an AMD guest, QEMU may have put it at " +
                                            hex(kAmdRelocatedBase));
  }
  return {k4GiB};
}

void PcBoard::overlay_legacy_area(MemoryMap& map, const MainRam& ram) const {
  qemu::overlay_legacy_area(map, board_, host_bridge(), legacy_blocks(),
                            ram.parts.front().guest.size());
}

/// Configuration space of the host bridge: a PCI device's state is be32 version 2, then 256 bytes.
std::optional<PciConfig> PcBoard::host_bridge() const {
  const bool q35 = board_ == Board::q35;
  const auto config =
      payload_bytes<256>(*source_, stream_->find_section(q35 ? "mch" : "I440FX"), 4);
  if (!config) return std::nullopt;
  const auto word = [&](std::size_t at) {
    return load<std::uint16_t>(std::span(*config).subspan(at), std::endian::little);
  };
  const bool known = word(0) == 0x8086 && word(2) == (q35 ? 0x29c0 : 0x1237);
  return known ? config : std::nullopt;
}

LegacyBlocks PcBoard::legacy_blocks() const {
  const auto& blocks = stream_->blocks;
  LegacyBlocks legacy;
  legacy.option_roms = find_block(blocks, "pc.rom");
  legacy.bios = find_block(blocks, "isa-bios");
  if (!legacy.bios) legacy.bios = find_block(blocks, "pc.bios");
  if (legacy.bios) legacy.bios_size = blocks[*legacy.bios].used_length;
  legacy.vga = std::any_of(blocks.begin(), blocks.end(), [](const RamBlock& block) {
    return block.name.ends_with("vga.vram") || block.name.ends_with("qxl.vgavram");
  });
  return legacy;
}

}  // namespace vmconvert::qemu
