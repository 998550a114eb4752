#include "vmware/vmware_reader.h"

#include <algorithm>
#include <string>

#include "vmconvert/base/text.h"
#include "vmware/companions.h"
#include "vmware/compressed_memory.h"
#include "vmware/description.h"
#include "vmware/encryption.h"
#include "vmware/guest_kind.h"
#include "vmware/memory_layout.h"
#include "vmware/panic_dump.h"

namespace vmconvert::vmware {
namespace {

constexpr SourceId kState = 0, kMemory = 1;
constexpr std::uint32_t kPartial = 0xbed3bed3;

using Source = std::shared_ptr<const ByteSource>;

std::vector<std::byte> head_of(const ByteSource& source, std::uint64_t most) {
  std::vector<std::byte> head(static_cast<std::size_t>(std::min(source.size(), most)));
  source.read_at({0}, head);
  return head;
}

/// What both kinds of states do when they have no memory of their own: the file that the user
/// named, or the one beside. nullptr if there is none and it is not needed.
Source find_memory_file(const Input& state, const ReadOptions& options, std::uint64_t expected,
                        Diagnostics& diagnostics) {
  if (!options.memory_file.empty())
    return Input::open(options.memory_file, options.salvage, diagnostics).source();
  const std::string& path = state.source()->name();
  const Neighbours* folder = state.neighbours();
  if (folder != nullptr) {
    if (const auto found = find_memory(*folder, path, expected, diagnostics)) {
      diagnostics.decision(path, "its memory is in " + file_name(*found));
      return folder->open(*found, options.salvage, diagnostics);
    }
  }
  const std::string why =
      folder == nullptr
          ? "holds no memory; name the file of its memory with --memory"
          : "holds no memory, and there is no " + printable(expected_memory(path)) +
                " beside it; name the file with --memory, if the state was saved with memory";
  if (options.memory_needed) throw Error(ErrorKind::unsupported, path, std::nullopt, why);
  diagnostics.warn(path, why);
  return nullptr;
}

std::uint64_t end_of(const std::vector<Placement>& placements) {
  std::uint64_t end = 0;
  for (const Placement& p : placements) end = std::max(end, p.at + p.guest.size());
  return end;
}

void describe_memory(GuestImage& image, std::uint64_t size) {
  image.metadata.blocks.push_back({"memory", size, image.runs.extents()});
}

/// Reads a checkpoint and its memory, wherever that is.
class StateReader {
 public:
  StateReader(const Input& input, const ReadOptions& options, Diagnostics& diagnostics)
      : input_(input),
        options_(options),
        diagnostics_(diagnostics),
        checkpoint_(input.source()),
        name_(input.source()->name()) {}

  /// @param memory  what the user wants for its memory; nullptr: what is in it or beside it
  GuestImage read(Source memory) {
    report_header();
    const MemoryGroup group = read_memory_group(checkpoint_, options_.salvage, diagnostics_);
    const CpuGroup cpus = read_cpu_group(checkpoint_, diagnostics_);
    GuestImage image;
    image.sources = {input_.source()};
    set_machine(cpus, image);
    describe_state(input_, checkpoint_, kState, options_, image, diagnostics_);
    const auto placements = place_regions(group.regions, name_, options_.salvage, diagnostics_);
    const auto opened = open_memory(group, std::move(memory), end_of(placements));
    if (opened) add_memory(*opened, group.has_regions, placements, image);
    return image;
  }

 private:
  void report_header() {
    diagnostics_.decision(name_, "checkpoint with magic " + hex(checkpoint_.magic()) + ", " +
                                     counted(checkpoint_.groups().size(), "group") + ", sizes of " +
                                     std::to_string(checkpoint_.word_size()) + " bytes");
    if (checkpoint_.word_size_differs())
      diagnostics_.warn(name_, "sizes are " + std::to_string(checkpoint_.word_size()) +
                                   " bytes wide, unlike the magic says");
    if (checkpoint_.magic() == kPartial)
      diagnostics_.warn(name_, "is marked as partial; what that leaves out is not known");
  }

  void set_machine(const CpuGroup& cpus, GuestImage& image) {
    const GuestMachine machine = guest_machine(checkpoint_, cpus, options_.machine, diagnostics_);
    image.arch = machine.arch;
    if (machine.arch == Arch::aarch64) {
      diagnostics_.warn(name_, "no registers: those of ARM64 guests are not known");
      return;
    }
    for (X86Registers registers : cpus.vcpus) {
      registers.long_mode = machine.arch == Arch::x86_64;
      image.vcpus.emplace_back(registers);
    }
  }

  std::optional<MemoryImage> open_memory(const MemoryGroup& group, Source memory,
                                         std::uint64_t regions_end) {
    if (memory == nullptr && options_.memory_file.empty() && group.memory)
      return open_memory_block(input_, *group.memory, options_.salvage, diagnostics_);
    if (memory == nullptr) {
      const std::uint64_t expected =
          regions_end != 0 ? regions_end : ram_size(checkpoint_).value_or(0);
      memory = find_memory_file(input_, options_, expected, diagnostics_);
    }
    if (memory == nullptr) return std::nullopt;
    if (group.memory)
      diagnostics_.warn(
          name_, "holds memory of its own, which is left aside for " + printable(memory->name()));
    return open_memory_file(std::move(memory), options_.salvage, diagnostics_);
  }

  void add_memory(const MemoryImage& memory, bool has_regions, std::vector<Placement> placements,
                  GuestImage& image) {
    const auto ram = ram_size(checkpoint_);
    if (!has_regions) {
      placements = place_by_rule(std::max(memory.size, ram.value_or(0)),
                                 {.file = name_,
                                  .arm = image.arch == Arch::aarch64,
                                  .known_machine = true,
                                  .below_4g = options_.below_4g},
                                 diagnostics_);
    } else if (options_.below_4g) {
      throw Error(ErrorKind::usage, name_, std::nullopt,
                  "--below-4g makes no sense, since the state tells where memory lies");
    }
    check_sizes(memory, placements, ram);
    const bool own = memory.source == image.sources[kState];
    if (!own) image.sources.push_back(memory.source);
    image.runs =
        map_placements(placements, memory, own ? kState : kMemory, options_.salvage, diagnostics_);
    describe_memory(image, memory.size);
    if (options_.details) add_region_facts(placements, memory, image.metadata);
    diagnostics_.decision(name_, human_size(image.runs.total_bytes()) + " of memory in " +
                                     counted(placements.size(), "region"));
  }

  void check_sizes(const MemoryImage& memory, const std::vector<Placement>& placements,
                   std::optional<std::uint64_t> ram) {
    std::uint64_t placed = 0;
    for (const Placement& placement : placements) placed += placement.guest.size();
    if (ram && *ram != placed)
      diagnostics_.warn(name_, "memSize says " + human_size(*ram) + " of RAM, its memory is " +
                                   human_size(placed));
    if (const std::uint64_t end = end_of(placements); memory.size > end)
      diagnostics_.warn(memory.source->name(),
                        human_size(memory.size - end) +
                            " of the memory are beyond all regions, and left "
                            "out");
  }

  const Input& input_;
  const ReadOptions& options_;
  Diagnostics& diagnostics_;
  Checkpoint checkpoint_;
  const std::string& name_;
};

/// @param memory  the user's; nullptr: the file beside
GuestImage read_panic(const Input& input, Source memory, const ReadOptions& options,
                      Diagnostics& diagnostics) {
  const std::string& name = input.source()->name();
  PanicDump dump = read_panic_dump(*input.source(), diagnostics);
  GuestImage image;
  image.sources = {input.source()};
  for (const X86Registers& registers : dump.vcpus) image.vcpus.emplace_back(registers);
  if (memory == nullptr) memory = find_memory_file(input, options, dump.memory_size, diagnostics);
  if (memory == nullptr) return image;
  const MemoryImage opened = open_memory_file(memory, options.salvage, diagnostics);
  if (opened.size > dump.memory_size)
    throw Error(ErrorKind::corrupt, memory->name(), std::nullopt,
                "has " + human_size(opened.size) + ", the memory of " + printable(name) + " has " +
                    human_size(dump.memory_size));
  image.sources.push_back(opened.source);
  image.runs = map_placements(dump.placements, opened, kMemory, options.salvage, diagnostics);
  describe_memory(image, opened.size);
  return image;
}

/// A .vmem without its state.
GuestImage read_memory_alone(const Input& input, const ReadOptions& options,
                             Diagnostics& diagnostics) {
  const std::string& name = input.source()->name();
  if (options.records)
    diagnostics.warn(name, "has no tags: they are in its state, which is not here");
  GuestImage image;
  assume_machine(name, options.machine, image, diagnostics);
  if (image.arch != Arch::x86_64 && image.arch != Arch::i386 && image.arch != Arch::aarch64)
    throw Error(ErrorKind::usage, name, std::nullopt,
                "VMware has no guests of " + std::string(arch_name(image.arch)));
  const MemoryImage memory = open_memory_file(input.source(), options.salvage, diagnostics);
  const auto placements = place_by_rule(
      memory.size, {.file = name, .arm = image.arch == Arch::aarch64, .below_4g = options.below_4g},
      diagnostics);
  image.sources = {memory.source};
  image.runs = map_placements(placements, memory, kState, options.salvage, diagnostics);
  describe_memory(image, memory.size);
  return image;
}

Match probe_state(const ProbeWindow& window) noexcept {
  return Checkpoint::recognise(window.head) || is_encrypted(window.head) ? Match::yes : Match::no;
}

GuestImage read_state(const Input& input, const ReadOptions& options, Diagnostics& diagnostics) {
  refuse_encrypted(head_of(*input.source(), kLargestHead), *input.source());
  return StateReader(input, options, diagnostics).read(nullptr);
}

Match probe_memory(const ProbeWindow& window) noexcept {
  return has_extension(window.name, ".vmem") || CompressedMemory::recognise_usual(window.head)
             ? Match::maybe
             : Match::no;
}

/// The state of a memory file, opened; nothing if there is none.
std::optional<Input> open_state(const Input& input, const ReadOptions& options,
                                Diagnostics& diagnostics) {
  if (!options.state_file.empty())
    return Input::open(options.state_file, options.salvage, diagnostics);
  const Neighbours* folder = input.neighbours();
  if (folder == nullptr) return std::nullopt;
  const std::string& path = input.source()->name();
  const auto found = find_state(*folder, path, diagnostics);
  if (!found) return std::nullopt;
  diagnostics.decision(path, "its state is in " + file_name(*found));
  return Input(folder->open(*found, options.salvage, diagnostics), options.salvage);
}

GuestImage read_memory(const Input& input, const ReadOptions& options, Diagnostics& diagnostics) {
  refuse_encrypted(head_of(*input.source(), kLargestHead), *input.source());
  const auto state = open_state(input, options, diagnostics);
  if (!state) return read_memory_alone(input, options, diagnostics);
  const auto head = head_of(*state->source(), kLargestHead);
  refuse_encrypted(head, *state->source());
  if (!Checkpoint::recognise(head) && has_extension(state->source()->name(), ".guest"))
    return read_panic(*state, input.source(), options, diagnostics);
  return StateReader(*state, options, diagnostics).read(input.source());
}

Match probe_panic(const ProbeWindow& window) noexcept {
  if (is_panic_dump(window.head, window.size)) return Match::yes;
  return has_extension(window.name, ".guest") ? Match::maybe : Match::no;
}

GuestImage read_panic_state(const Input& input, const ReadOptions& options,
                            Diagnostics& diagnostics) {
  return read_panic(input, nullptr, options, diagnostics);
}

}  // namespace

constinit const Format kVmware{
    .name = "vmware",
    .summary = "VMware saved states and snapshots: .vmss, .vmsn, with the .vmem beside them",
    .probe = probe_state,
    .read = read_state,
    .takes_memory_file = true,
    .has_records = true,
};

constinit const Format kVmem{
    .name = "vmware-vmem",
    .summary = "VMware guest memory: .vmem, with the .vmss or .vmsn beside it",
    .probe = probe_memory,
    .read = read_memory,
    .takes_state_file = true,
    .has_records = true,
};

constinit const Format kPanic{
    .name = "vmware-panic",
    .summary = "VMware panic dumps: .guest, with the .vmem beside it",
    .probe = probe_panic,
    .read = read_panic_state,
    .takes_memory_file = true,
};

}  // namespace vmconvert::vmware
