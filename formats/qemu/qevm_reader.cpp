#include "qemu/qevm_reader.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "qemu/boards.h"
#include "qemu/cpu_sections.h"
#include "qemu/guest_blocks.h"
#include "qemu/memory_map.h"
#include "qemu/page_decoding.h"
#include "qemu/pc_board.h"
#include "qemu/qevm_format.h"
#include "qemu/qevm_metadata.h"
#include "qemu/qevm_stream.h"
#include "qemu/screen.h"
#include "qemu/virtio_mem.h"
#include "qemu/vmcoreinfo_device.h"
#include "vmconvert/base/text.h"

namespace vmconvert::qemu {
namespace {

// What QEMU aligns memory devices to: on PCs the area where they are, in it each of them.
constexpr std::uint64_t kPcDeviceMemoryAlignment = std::uint64_t{1} << 30;
constexpr std::uint64_t kDeviceAlignment = std::uint64_t{2} << 20;

/// Places the blocks of one stream in guest-physical space and makes the image.
class ImageBuilder {
 public:
  /// @param decoded  the source kDecodedPages; may be null
  ImageBuilder(std::shared_ptr<const ByteSource> source, std::shared_ptr<const ByteSource> decoded,
               QevmStream stream, const ReadOptions& options, Diagnostics& diagnostics)
      : source_(source),
        sources_{std::move(source)},
        stream_(std::move(stream)),
        options_(options),
        diagnostics_(diagnostics) {
    if (decoded) sources_.push_back(std::move(decoded));
  }

  GuestImage build() {
    const CpuSections cpus(stream_, *source_);
    check_block_options();
    for (RamBlock& block : stream_.blocks) lists_.push_back(block.pages.finish());
    const Arch arch = PcBoard::matches(stream_) ? place_pc() : place_board(cpus.kind());
    GuestImage image = make_image();
    image.vcpus = cpus.read(arch, diagnostics_);
    image.arch = arch_of(arch, image.vcpus);
    image.byte_order = guest_byte_order(arch, image.vcpus);
    if (arch == Arch::ppc64 && image.vcpus.empty())
      diagnostics_.warn(name(),
                        "byte order not known without registers, taken to be little-endian");
    image.vmcoreinfo = read_vmcoreinfo(image, stream_, *source_, diagnostics_);
    if (options_.screen) {
      const auto absence = options_.screen_needed ? Diagnostics::Level::warning
                                                  : Diagnostics::Level::decision;
      image.screen = read_screen(stream_, lists_, image, absence, diagnostics_);
    }
    describe_stream(stream_, map_.placements(), *source_, image);
    return image;
  }

 private:
  const std::string& name() const { return source_->name(); }
  void decide(const std::string& text) { diagnostics_.decision(name(), text); }

  // --- board -------------------------------------------------------------------------------------

  /// QEMU takes an x86 guest for a 32-bit one as long as the first vCPU is not in long mode.
  static Arch arch_of(Arch arch, const std::vector<Vcpu>& vcpus) {
    if (arch != Arch::x86_64 || vcpus.empty()) return arch;
    const auto* first = std::get_if<X86Registers>(&vcpus.front());
    return first != nullptr && !first->long_mode ? Arch::i386 : Arch::x86_64;
  }

  Arch place_pc() {
    const PcBoard board(stream_, *source_, diagnostics_);
    guest_blocks_ = classify_blocks(stream_.blocks, kPcRamNames, board.ram_size(), name());
    check_shared_blocks();
    const MainRam ram = board.layout(
        guest_blocks_.main_ram, options_.below_4g,
        [this](std::size_t block, std::uint64_t most) { return block_head(block, most); });
    for (const RamPart& part : ram.parts) map_main(part.offset, part.guest);
    board.overlay_legacy_area(map_, ram);
    place_virtio_memory();
    place_memory_devices(ram.end, kPcDeviceMemoryAlignment);
    return Arch::x86_64;
  }

  Arch place_board(std::optional<CpuKind> cpu) {
    const PlainBoard board = choose_board(stream_, cpu, options_, name());
    decide("machine type " +
           (stream_.machine.empty() ? "unknown (before 2.4)" : printable(stream_.machine)) + ", " +
           std::string(arch_name(board.arch)));
    if (!board.is_known) {
      place_told_blocks();
      return board.arch;
    }
    if (options_.below_4g) {
      throw Error(
          ErrorKind::usage, name(), std::nullopt,
          "--below-4g is for x86 PCs; this is a machine of type " + quoted(stream_.machine));
    }
    guest_blocks_ =
        classify_blocks(stream_.blocks, std::span(&board.ram_block, 1), std::nullopt, name());
    check_shared_blocks();
    const auto guest = GuestRange::sized(board.ram, main_ram_size());
    decide(human_size(guest.size()) + " of RAM from " + hex(guest.begin().value) +
           " on (from the board's memory map)");
    map_main(0, guest);
    place_virtio_memory();
    place_memory_devices(guest.end(), board.device_memory_alignment);
    return board.arch;
  }

  /// Of a machine that is not known: the blocks whose address the user gives are its memory.
  void place_told_blocks() {
    for (std::size_t i = 0; i < stream_.blocks.size(); ++i) {
      if (const auto told = told_address(stream_.blocks[i])) {
        guest_blocks_.main_ram.push_back(i);
        place_block(i, block_range(stream_.blocks[i], told->address), 0, told->by);
      }
    }
    check_shared_blocks();
  }

  // --- content that is elsewhere -----------------------------------------------------------------

  void check_shared_blocks() {
    if (!stream_.ram_format.ignore_shared) return;
    for (const auto& group :
         {guest_blocks_.main_ram, guest_blocks_.memory_devices, guest_blocks_.virtio_memory}) {
      for (const std::size_t block : group) {
        if (stream_.blocks[block].records != 0) continue;
        throw Error(ErrorKind::unsupported, name(), std::nullopt,
                    "the content of memory block " + quoted(stream_.blocks[block].name) +
                        " is not in the stream but in the shared file behind it (capability "
                        "x-ignore-shared)");
      }
    }
  }

  // --- placing -----------------------------------------------------------------------------------

  std::uint64_t main_ram_size() const {
    std::uint64_t sum = 0;
    for (const std::size_t block : guest_blocks_.main_ram) sum += stream_.blocks[block].used_length;
    return sum;
  }

  /// The first bytes of a block, at most `most`.
  std::vector<std::byte> block_head(std::size_t block, std::uint64_t most) const {
    GuestImage view;
    view.sources = sources_;
    view.runs = lists_[block];
    std::vector<std::byte> bytes(
        static_cast<std::size_t>(std::min(most, stream_.blocks[block].used_length)));
    constexpr std::size_t kStep = 4096;  // a page without a record stays zero
    for (std::size_t at = 0; at < bytes.size(); at += kStep) {
      const auto step = std::span(bytes).subspan(at, std::min(kStep, bytes.size() - at));
      if (!read_guest(view, {at}, step)) std::fill(step.begin(), step.end(), std::byte{0});
    }
    return bytes;
  }

  /// Maps main RAM, the concatenation of its blocks, from `offset` on.
  void map_main(std::uint64_t offset, GuestRange guest) {
    for (const std::size_t block : guest_blocks_.main_ram) {
      const std::uint64_t size = stream_.blocks[block].used_length;
      if (offset < size && !guest.empty()) {
        const auto part = GuestRange::sized(guest.begin(), std::min(size - offset, guest.size()));
        map_.map(part, block, offset);
        guest = GuestRange::between(part.end(), guest.end());
      }
      offset -= std::min(offset, size);
    }
  }

  /// An address with where it came from.
  struct Told {
    GuestPhysAddr address;
    std::string_view by;
  };

  std::optional<Told> told_address(const RamBlock& block) const {
    for (const auto& [addresses, by] : {std::pair(&options_.block_addresses, "--block"),
                                        std::pair(&options_.block_hints, "the libvirt domain")}) {
      for (const std::string_view key : {std::string_view(block.name), backend_id(block.name)}) {
        if (const auto found = addresses->find(key); found != addresses->end()) {
          return Told{found->second, by};
        }
      }
    }
    return std::nullopt;
  }

  void check_block_options() const {
    for (const auto& entry : options_.block_addresses) {
      const std::string& key = entry.first;
      const bool known = std::any_of(
          stream_.blocks.begin(), stream_.blocks.end(),
          [&](const RamBlock& b) { return b.name == key || backend_id(b.name) == key; });
      if (!known) {
        throw Error(ErrorKind::usage, name(), std::nullopt,
                    "there is no memory block " + quoted(key) + " (-vv lists them)");
      }
    }
  }

  void place_block(std::size_t index, GuestRange guest, std::uint64_t offset,
                   std::string_view why) {
    if (const Placement* other = map_.find_overlap(guest)) {
      throw Error(ErrorKind::usage, name(), std::nullopt,
                  "memory block " + quoted(stream_.blocks[index].name) + " at " +
                      hex(guest.begin().value) + " would overlap " +
                      quoted(stream_.blocks[other->block].name));
    }
    map_.map(guest, index, offset);
    decide("memory block " + printable(stream_.blocks[index].name) + ": " +
           human_size(guest.size()) + " at " + hex(guest.begin().value) + " (" + std::string(why) +
           ")");
  }

  /// A whole block at an address that the user or a file gives.
  GuestRange block_range(const RamBlock& block, GuestPhysAddr address) const {
    const auto range = GuestRange::try_sized(address, block.used_length);
    if (!range || address.value % stream_.ram_format.page_size != 0) {
      throw Error(ErrorKind::usage, name(), std::nullopt,
                  "memory block " + quoted(block.name) + " of " + human_size(block.used_length) +
                      " cannot lie at " + hex(address.value) +
                      ": not a multiple of the page size or beyond the address space");
    }
    return *range;
  }

  void place_virtio_memory() {
    for (const std::size_t index : guest_blocks_.virtio_memory) {
      const RamBlock& block = stream_.blocks[index];
      if (const auto told = told_address(block)) {
        place_block(index, block_range(block, told->address), 0, told->by);
      } else if (const auto device = find_virtio_mem(stream_, block, *source_)) {
        for (const GuestRange part : device->plugged) {
          place_block(index, part, part.begin() - device->region.begin(),
                      "the state of its virtio-mem device");
        }
        taken_.push_back(device->region);
      } else {
        lose_block(block);
      }
    }
  }

  /// Nothing in the stream tells where a DIMM was plugged. QEMU puts them behind main RAM, each at
  /// the first place where it fits; with several of different sizes the order decides, and it is
  /// not known.
  /// @param end  of main RAM
  /// @param alignment  of the area behind it; 0: the board has none
  void place_memory_devices(GuestPhysAddr end, std::uint64_t alignment) {
    std::vector<std::size_t> unplaced;
    for (const std::size_t index : guest_blocks_.memory_devices) {
      const RamBlock& block = stream_.blocks[index];
      if (const auto told = told_address(block)) {
        const GuestRange guest = block_range(block, told->address);
        place_block(index, guest, 0, told->by);
        taken_.push_back(guest);
      } else {
        unplaced.push_back(index);
      }
    }
    const bool same_size = std::all_of(unplaced.begin(), unplaced.end(), [&](std::size_t i) {
      return stream_.blocks[i].used_length == stream_.blocks[unplaced.front()].used_length;
    });
    if (!same_size || alignment == 0) {
      for (const std::size_t index : unplaced) lose_block(stream_.blocks[index]);
      return;
    }
    for (const std::size_t index : unplaced) {
      const GuestRange guest = first_fit(end, alignment, stream_.blocks[index].used_length);
      place_block(index, guest, 0, "QEMU's rule for memory devices");
      taken_.push_back(guest);
      diagnostics_.warn(
          name(), "memory block " + printable(stream_.blocks[index].name) + " is placed at " +
                      hex(guest.begin().value) +
                      " by rule, as the stream does not tell (--block NAME=ADDRESS overrides)");
    }
  }

  GuestRange first_fit(GuestPhysAddr after, std::uint64_t alignment, std::uint64_t size) {
    GuestPhysAddr at{align_up(after.value, alignment)};
    std::sort(taken_.begin(), taken_.end(),
              [](GuestRange a, GuestRange b) { return a.begin() < b.begin(); });
    for (const GuestRange range : taken_) {
      if (range.end() <= at) continue;
      if (range.begin() >= at && range.begin() - at >= size) break;
      at = GuestPhysAddr{align_up(range.end().value, kDeviceAlignment)};
    }
    return GuestRange::sized(at, size);
  }

  void lose_block(const RamBlock& block) {
    const std::string text = "memory block " + quoted(block.name) + " of " +
                             human_size(block.used_length) +
                             ": the stream does not tell its guest address";
    if (!options_.salvage) {
      throw Error(ErrorKind::unsupported, name(), std::nullopt,
                  text + " (give it with --block NAME=ADDRESS)");
    }
    diagnostics_.loss(name(), std::nullopt, text + "; left out");
  }

  // --- image -------------------------------------------------------------------------------------

  GuestImage make_image() {
    RunListBuilder runs(stream_.ram_format.page_size);
    for (const Placement& placement : map_.placements()) {
      add_placement(lists_[placement.block], placement, runs);
    }
    GuestImage image;
    image.sources = sources_;
    image.runs = runs.finish();
    report(image);
    return image;
  }

  void add_placement(const RunList& block, const Placement& placement, RunListBuilder& runs) {
    const auto range = GuestRange::sized({placement.offset}, placement.guest.size());
    GuestPhysAddr at = range.begin();  // in the block
    const auto to_guest = [&](GuestRange part) {
      return GuestRange::sized(placement.guest.begin() + (part.begin() - range.begin()),
                               part.size());
    };
    const auto add_gap = [&](GuestPhysAddr end) {
      if (at >= end) return;
      const GuestRange gap = GuestRange::between(at, end);
      if (stream_.ram_complete) {
        runs.add({to_guest(gap), Filled{std::byte{0}}});
      } else {
        missing_.push_back(to_guest(gap));
      }
    };
    block.for_each_in(range, [&](const Run& run) {
      add_gap(run.guest.begin());
      runs.add({to_guest(run.guest), run.backing});
      at = run.guest.end();
    });
    add_gap(range.end());
  }

  void report(const GuestImage& image) {
    for (std::size_t i = 0; i < lists_.size(); ++i) {
      const RamBlock& block = stream_.blocks[i];
      diagnostics_.report(Diagnostics::Level::detail, name(), std::nullopt,
                          "block " + printable(block.name) + ": " + hex(block.used_length) +
                              " bytes, " + counted(block.records, "page record") + ", " +
                              counted(lists_[i].runs().size(), "run"));
    }
    for (const Placement& placement : map_.placements()) {
      diagnostics_.report(Diagnostics::Level::detail, name(), std::nullopt,
                          "guest " + hex(placement.guest.begin().value) + " to " +
                              hex(placement.guest.end().value) + ": block " +
                              printable(stream_.blocks[placement.block].name) + " from " +
                              hex(placement.offset) + " on");
    }
    decide(human_size(image.runs.total_bytes()) + " of guest memory in " +
           counted(image.runs.runs().size(), "run") + " and " +
           counted(image.runs.extents().size(), "extent"));
    report_missing();
  }

  void report_missing() {
    constexpr std::size_t kMostListed = 20;
    std::uint64_t bytes = 0;
    for (const GuestRange range : missing_) bytes += range.size();
    if (bytes == 0) return;
    std::string text = "no content for " + human_size(bytes) + " of guest memory, left out:";
    for (std::size_t i = 0; i < std::min(kMostListed, missing_.size()); ++i) {
      text += " " + hex(missing_[i].begin().value) + "-" + hex(missing_[i].end().value);
    }
    if (missing_.size() > kMostListed)
      text += " and " + counted(missing_.size() - kMostListed, "more range");
    diagnostics_.loss(name(), std::nullopt, text);
  }

  std::shared_ptr<const ByteSource> source_;
  std::vector<std::shared_ptr<const ByteSource>> sources_;  ///< of the runs
  QevmStream stream_;
  const ReadOptions& options_;
  Diagnostics& diagnostics_;
  GuestBlocks guest_blocks_;
  std::vector<RunList> lists_;  ///< per block, in the order of the stream
  MemoryMap map_;
  std::vector<GuestRange> taken_;    ///< device memory that is in use
  std::vector<GuestRange> missing_;  ///< of a stream that ends early
};

// --- format
// ----------------------------------------------------------------------------------------

// Magic and version.
constexpr std::array<std::byte, 8> kHead{std::byte{'Q'}, std::byte{'E'}, std::byte{'V'},
                                         std::byte{'M'}, std::byte{0},   std::byte{0},
                                         std::byte{0},   std::byte{3}};

/// Magic, then version 1.
bool is_multifd_connection(std::span<const std::byte> head) {
  return head.size() >= 8 && load<std::uint32_t>(head, std::endian::big) == kMultifdMagic &&
         load<std::uint32_t>(head.subspan(4), std::endian::big) == 1;
}

/// `file:NAME,offset=N` leaves room before the stream. Such a stream is modern: a configuration
/// element follows its head.
std::optional<std::size_t> find_stream(std::span<const std::byte> head) {
  std::array<std::byte, kHead.size() + 1> pattern{};
  std::copy(kHead.begin(), kHead.end(), pattern.begin());
  pattern.back() = std::byte{static_cast<std::uint8_t>(Element::configuration)};
  const auto found = std::search(head.begin(), head.end(), pattern.begin(), pattern.end());
  if (found == head.end()) return std::nullopt;
  return static_cast<std::size_t>(found - head.begin());
}

Match probe(const ProbeWindow& window) noexcept {
  if (window.head.size() >= 4 && std::equal(kHead.begin(), kHead.begin() + 4, window.head.begin()))
    return Match::yes;
  if (is_multifd_connection(window.head)) return Match::yes;  // to be refused by name
  return find_stream(window.head) ? Match::maybe : Match::no;
}

GuestImage read(const Input& input, const ReadOptions& options, Diagnostics& diagnostics) {
  const ByteSource& source = *input.source();
  std::vector<std::byte> head(
      static_cast<std::size_t>(std::min<std::uint64_t>(source.size(), 64 * 1024)));
  source.read_at({0}, head);
  FileOffset begin{0};
  if (!std::equal(kHead.begin(), kHead.begin() + 4, head.begin(),
                  head.begin() + std::min<std::ptrdiff_t>(4, std::ssize(head)))) {
    if (const auto found = find_stream(head)) {
      begin = FileOffset{*found};
      diagnostics.decision(source.name(), "the stream begins at offset " + hex(begin.value));
    }
  }
  return read_qevm(input.source(), begin, options, diagnostics);
}

}  // namespace

GuestImage read_qevm(std::shared_ptr<const ByteSource> source, FileOffset begin,
                     const ReadOptions& options, Diagnostics& diagnostics) {
  const auto window = FileRange::between(begin, {source->size()});
  QevmStream stream = parse_qevm(*source, window, options.salvage, diagnostics);
  auto decoded = decode_pages(source, stream, options.salvage, diagnostics);
  return ImageBuilder(std::move(source), std::move(decoded), std::move(stream), options,
                      diagnostics)
      .build();
}

constinit const Format kQevm{
    .name = "qevm",
    .summary = "QEMU migration stream (migrate to a file, virsh dump, Proxmox state)",
    .probe = probe,
    .read = read,
};

}  // namespace vmconvert::qemu
