#include "elf/elf_reader.h"

#include <algorithm>
#include <string>

#include "elf/elf_segments.h"
#include "elf/own_vmcore.h"
#include "vmconvert/base/text.h"
#include "vmconvert/io/elf_file.h"
#include "vmconvert/model/dump_notes.h"
#include "vmconvert/model/machine.h"

namespace vmconvert::elf_dump {
namespace {

// Notes of a process, whatever ran in it. Truth: elf.h of glibc 2.36.
constexpr std::uint32_t kNtAuxv = 6, kNtFile = 0x46494c45;

bool is_process_note(std::uint32_t type, std::string_view name) {
  return (type == kNtAuxv || type == kNtFile) && name.starts_with("CORE");
}

/// True if a note of a process lies in `notes`; stops at what it does not understand.
bool has_process_note(std::span<const std::byte> notes, std::endian order) {
  while (notes.size() >= 12) {
    const std::uint64_t namesz = load<std::uint32_t>(notes, order);
    const std::uint64_t descsz = load<std::uint32_t>(notes.subspan(4), order);
    const auto type = load<std::uint32_t>(notes.subspan(8), order);
    notes = notes.subspan(12);
    if (namesz > notes.size()) return false;
    const std::string_view name(reinterpret_cast<const char*>(notes.data()),
                                static_cast<std::size_t>(namesz));
    if (is_process_note(type, name)) return true;
    const std::uint64_t size = (namesz + 3) / 4 * 4 + (descsz + 3) / 4 * 4;
    if (size > notes.size()) return false;
    notes = notes.subspan(static_cast<std::size_t>(size));
  }
  return false;
}

/// What a core file is of, by what of it lies in the window. A process has no physical addresses:
/// every p_paddr is 0 and the segments, of which it has several, differ by p_vaddr. Of a guest with
/// one range of memory that begins at 0 p_paddr is 0, too.
Match probe_core(const ProbeWindow& window, const ElfHeader& header) {
  const std::vector<ElfSegment> segments = peek_elf_segments(window.head, header);
  bool any_paddr = false;
  std::size_t loads = 0;
  for (const ElfSegment& s : segments) {
    if (s.p_type == elf::kNote && s.p_offset < window.head.size()) {
      const auto rest = window.head.subspan(static_cast<std::size_t>(s.p_offset));
      const auto size = std::min<std::uint64_t>(rest.size(), s.p_filesz);
      if (has_process_note(rest.first(static_cast<std::size_t>(size)), header.order))
        return Match::no;
    }
    if (s.p_type != elf::kLoad) continue;
    ++loads;
    any_paddr = any_paddr || s.p_paddr != 0;
  }
  if (loads != 0) return any_paddr || loads == 1 ? Match::yes : Match::no;
  // Xen's dump-cores have sections alone. Program headers beyond the window may be anybody's.
  return header.e_phnum != 0 && segments.empty() ? Match::maybe : Match::no;
}

Match probe(const ProbeWindow& window) noexcept {
  const auto header = peek_elf_header(window.head);
  if (!header) return Match::no;
  if (header->e_type == elf::kTypeCore) return probe_core(window, *header);
  // For the sake of a message that says what it is.
  return header->e_type >= elf::kTypeRelocatable && header->e_type <= elf::kTypeShared
             ? Match::maybe
             : Match::no;
}

/// For what dumps no machine of ours: the names people know.
std::string elf_machine_text(const ElfHeader& header) {
  std::string text = "e_machine " + std::to_string(header.e_machine) + ", ";
  text += header.is_64 ? "64-bit, " : "32-bit, ";
  return text + (header.order == std::endian::big ? "big-endian" : "little-endian");
}

void require_core(const ByteSource& source, const ElfHeader& header) {
  if (header.e_type == elf::kTypeCore) return;
  std::string what = "an ELF file of type " + std::to_string(header.e_type);
  if (header.e_type == elf::kTypeRelocatable) what = "an object file";
  if (header.e_type == elf::kTypeExecutable) what = "an executable";
  if (header.e_type == elf::kTypeShared) what = "an executable or shared library";
  throw Error(ErrorKind::unsupported, source.name(), std::nullopt,
              "is " + what + ", not a dump of a guest");
}

/// The notes; with `salvage` none if they are damaged: half of them would shift the vCPUs' numbers.
std::vector<ElfNote> read_notes(const ByteSource& source, const ElfFile& file, bool salvage,
                                Diagnostics& diagnostics) {
  try {
    return file.notes(source);
  } catch (const Error& error) {
    if (!salvage || error.kind() != ErrorKind::corrupt) throw;
    diagnostics.loss("", std::nullopt, std::string(error.what()) + "; all notes are lost");
    return {};
  }
}

GuestImage read(const Input& input, const ReadOptions& options, Diagnostics& diagnostics) {
  const ByteSource& source = *input.source();
  const ElfFile file(source);
  const ElfHeader& header = file.header();
  require_core(source, header);
  const auto machine = machine_by_elf(header.is_64, header.order, header.e_machine);
  if (!machine) {
    throw Error(ErrorKind::unsupported, source.name(), std::nullopt,
                "is of a guest that is not supported (" + elf_machine_text(header) + ')');
  }
  if (options.machine && *options.machine != *machine) {
    throw Error(ErrorKind::usage, source.name(), std::nullopt,
                "is of a guest of " + machine_name(*machine) + ", not of " +
                    machine_name(*options.machine) + " as --arch says");
  }
  GuestImage image;
  image.arch = machine->arch;
  image.byte_order = machine->order;
  image.sources.push_back(input.source());
  image.runs = map_segments(source, file, options.salvage, diagnostics);
  image.metadata.facts.push_back({"dump.format", header.is_64 ? "ELF64" : "ELF32"});
  add_dump_notes(source, read_notes(source, file, options.salvage, diagnostics), image);
  drop_own_p2m(source.name(), image, diagnostics);
  const std::uint64_t loads = static_cast<std::uint64_t>(
      std::count_if(file.segments().begin(), file.segments().end(),
                    [](const auto& s) { return s.p_type == elf::kLoad; }));
  diagnostics.decision(source.name(), "guest of " + machine_name(*machine) + ", " +
                                          counted(loads, "PT_LOAD") + ", " +
                                          counted(image.notes.size(), "note"));
  return image;
}

}  // namespace

constinit const Format kElf{
    .name = "elf",
    .summary = "ELF dumps of guests: QEMU dump-guest-memory, Linux /proc/vmcore, vmconvert's own",
    .probe = probe,
    .read = read,
};

}  // namespace vmconvert::elf_dump
