#include "qemu_core/qemu_core_reader.h"

#include <algorithm>

#include "qemu_core/guest_arch.h"
#include "qemu_core/guest_memory.h"
#include "qemu_core/locate.h"
#include "qemu_core/process_memory.h"
#include "qemu_core/process_notes.h"
#include "qemu_core/vmcoreinfo_device.h"
#include "vmconvert/base/text.h"
#include "vmconvert/io/elf_file.h"

namespace vmconvert::qemu_core {
namespace {

constexpr std::uint64_t kUserSpaceEnd = std::uint64_t{1} << 63;

/// Cores of processes have no physical addresses, and addresses that a process can have; vmcores
/// have physical ones, or virtual ones of a kernel.
bool is_process_core(const ElfHeader& header, std::span<const ElfSegment> segments) {
  if (header.e_type != elf::kTypeCore) return false;
  bool mapped = false;
  for (const ElfSegment& segment : segments) {
    if (segment.p_type != elf::kLoad) continue;
    if (segment.p_paddr != 0) return false;
    mapped |= segment.p_vaddr != 0 && segment.p_vaddr < kUserSpaceEnd;
  }
  return mapped;
}

Match probe(const ProbeWindow& window) noexcept {
  const auto header = peek_elf_header(window.head);
  if (!header) return Match::no;
  return is_process_core(*header, peek_elf_segments(window.head, *header)) ? Match::yes : Match::no;
}

void check_kind(const ByteSource& source, const ElfFile& elf) {
  if (!is_process_core(elf.header(), elf.segments())) {
    throw Error(ErrorKind::corrupt, source.name(), std::nullopt,
                "is no core of a process: its PT_LOADs have no addresses of one");
  }
  if (!elf.header().is_64) {
    throw Error(ErrorKind::unsupported, source.name(), std::nullopt,
                "cores of a 32-bit QEMU are not supported");
  }
}

void check_complete(const ProcessMemory& memory, bool salvage, Diagnostics& diagnostics) {
  if (!memory.cut_off()) return;
  std::uint64_t end = 0;
  for (const Mapping& mapping : memory.mappings())
    end = std::max(end, mapping.at.value + mapping.filesz);
  const std::string& name = memory.source().name();
  const std::uint64_t size = memory.source().size();
  const std::string text = "the core is cut off: " + human_size(size) + " of " + human_size(end) +
                           " are there (limits of systemd-coredump, ulimit -c)";
  if (!salvage) throw Error(ErrorKind::corrupt, name, size, text);
  diagnostics.loss(name, size, text);
}

void fill_metadata(const ProcessNotes& notes, const FlatMap& map, Metadata& metadata) {
  metadata.machine = map.machine;
  if (const MappedFile* qemu = notes.qemu())
    metadata.facts.push_back({"process.executable", qemu->path});
  if (!notes.command.empty()) metadata.facts.push_back({"process.command", notes.command});
  for (const Block& block : map.blocks)
    metadata.blocks.push_back({block.name, block.host.size(), {}});
  for (const VisibleRam& ram : map.ram) metadata.blocks[ram.block].guest.push_back(ram.guest);
}

GuestImage read(const Input& input, const ReadOptions& options, Diagnostics& diagnostics) {
  const std::shared_ptr<const ByteSource>& source = input.source();
  const std::string& name = source->name();
  const ElfFile elf(*source);
  check_kind(*source, elf);
  ProcessMemory memory(*source, elf);
  check_complete(memory, options.salvage, diagnostics);
  const ProcessNotes notes = read_process_notes(*source, elf, options.salvage, diagnostics);
  if (!notes.command.empty()) diagnostics.decision(name, "the process is " + quoted(notes.command));

  const Located located = locate_map(memory, notes, options, diagnostics);
  const GuestArch arch = find_guest_arch(*source, elf.header(), notes, located.map);
  diagnostics.decision(
      name,
      "guest architecture " + std::string(arch_name(arch.arch)) + " (from " + arch.origin + ")" +
          (located.map.machine.empty() ? "" : ", machine type " + printable(located.map.machine)));
  GuestImage image;
  image.arch = arch.arch;
  image.sources = {source};
  image.runs =
      read_guest_memory(memory, notes, located.map, arch.arch, options.salvage, diagnostics);
  if (arch.arch == Arch::s390x) image.byte_order = std::endian::big;
  if (arch.arch == Arch::ppc64) {
    const auto order = ppc64_order(image);
    image.byte_order = order.value_or(std::endian::big);
    diagnostics.decision(
        name, std::string(image.byte_order == std::endian::big ? "big" : "little") +
                  "-endian guest (from " +
                  (order ? "its interrupt vectors)" : "nothing but the machine's reset state)"));
  }
  fill_metadata(notes, located.map, image.metadata);
  diagnostics.decision(name, human_size(image.runs.total_bytes()) + " of guest memory in " +
                                 counted(image.runs.runs().size(), "run") + " and " +
                                 counted(image.runs.extents().size(), "extent"));
  image.vmcoreinfo = find_vmcoreinfo(image, memory, located.map, located.layout,
                                     located.vmcoreinfo_state, diagnostics);
  return image;
}

}  // namespace

constinit const Format kQemuCore{
    .name = "qemu-core",
    .summary = "Core of a QEMU process (gcore, systemd-coredump, Linux)",
    .probe = probe,
    .read = read,
};

}  // namespace vmconvert::qemu_core
