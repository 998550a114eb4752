#include "kdump/kdump_reader.h"

#include <algorithm>
#include <array>
#include <string>

#include "kdump/flattened.h"
#include "kdump/kdump_header.h"
#include "kdump/kdump_pages.h"
#include "vmconvert/base/text.h"
#include "vmconvert/model/dump_notes.h"
#include "vmconvert/model/machine.h"

namespace vmconvert::kdump {
namespace {

constexpr std::string_view kSignature = "KDUMP   ", kOldSignature = "DISKDUMP";
constexpr std::string_view kElfSignature = "\177ELF";

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Match probe(const ProbeWindow& window) noexcept {
  const std::string_view head = as_text(window.head);
  return head.starts_with(kSignature) || head.starts_with(kOldSignature) ||
                 is_flattened(window.head)
             ? Match::yes
             : Match::no;
}

void check_signature(const ByteSource& dump) {
  std::array<std::byte, 16> bytes{};
  const auto present = std::span(bytes).first(std::min<std::uint64_t>(dump.size(), bytes.size()));
  dump.read_at({0}, present.first(std::min(present.size(), kSignature.size())));
  const std::string_view head = as_text(present);
  if (head.starts_with(kSignature)) return;
  if (head.starts_with(kOldSignature)) {
    throw Error(ErrorKind::unsupported, dump.name(), 0,
                "is a diskdump of Linux 2.4 or 2.6, which is not supported");
  }
  if (head.starts_with(kElfSignature)) {
    throw Error(ErrorKind::unsupported, dump.name(), 0,
                "is a flattened ELF dump; make a plain one of it with makedumpfile -R");
  }
  throw Error(ErrorKind::corrupt, dump.name(), 0, "signature is not \"KDUMP   \"");
}

/// The dump itself, and what its headers say.
struct Dump {
  std::shared_ptr<const ByteSource> source;
  Header header;
  bool flattened = false;
};

Dump open_dump(const Input& input, bool salvage, Diagnostics& diagnostics) {
  Dump dump{.source = input.source()};
  std::array<std::byte, 16> head{};
  const auto present =
      std::span(head).first(std::min<std::uint64_t>(dump.source->size(), head.size()));
  dump.source->read_at({0}, present);
  dump.flattened = is_flattened(present);
  if (!dump.flattened) {
    check_signature(*dump.source);
    dump.header = read_header(*dump.source);
    return dump;
  }
  const FlattenedSource rearranged(dump.source, salvage, diagnostics);
  check_signature(rearranged);
  dump.header = read_header(rearranged);
  dump.source = std::make_shared<FlattenedSource>(rearranged, dump.header.bitmap1.begin());
  diagnostics.decision(input.source()->name(),
                       "flattened dump, " + human_size(rearranged.size()) + " when rearranged");
  return dump;
}

std::vector<ElfNote> read_notes(const ByteSource& dump, const Header& header, bool salvage,
                                Diagnostics& diagnostics) {
  try {
    std::vector<ElfNote> notes = read_elf_notes(dump, header.notes, header.order);
    const bool has_text = std::any_of(notes.begin(), notes.end(),
                                      [](const ElfNote& n) { return n.name == "VMCOREINFO"; });
    // Version 3 of the header has the text alone.
    if (!has_text && !header.vmcoreinfo.empty()) {
      if (header.vmcoreinfo.size() > elf::kLargestNotes) {
        throw Error(ErrorKind::corrupt, dump.name(), header.vmcoreinfo.begin().value,
                    "size of vmcoreinfo is more than any guest has");
      }
      notes.push_back({"VMCOREINFO", 0, header.vmcoreinfo});
    }
    return notes;
  } catch (const Error& error) {
    if (!salvage || error.kind() != ErrorKind::corrupt) throw;
    diagnostics.loss("", std::nullopt, std::string(error.what()) + "; all notes are lost");
    return {};
  }
}

/// The machine whose NT_PRSTATUS is this long. Truth: QEMU 7.2 and 10.0, target/*/arch_dump.c.
std::optional<GuestMachine> machine_by_notes(const Header& header, const GuestImage& image) {
  struct Row {
    std::size_t size;
    std::string_view machine;
  };
  constexpr std::array kLittle{Row{336, "x86_64"}, Row{392, "aarch64"}, Row{504, "ppc64le"},
                               Row{376, "riscv64"}};
  constexpr std::array kBig{Row{336, "s390x"}, Row{392, "aarch64_be"}, Row{504, "ppc64"}};
  const auto note = std::find_if(image.notes.begin(), image.notes.end(),
                                 [](const Note& n) { return n.name == "CORE" && n.type == 1; });
  if (note == image.notes.end()) return std::nullopt;
  const bool big = header.order == std::endian::big;
  if (!header.is_64) {
    return note->desc.size() == 144 && !big ? machine_by_name("i386") : std::nullopt;
  }
  // A guest in 32-bit mode whose memory reaches 4 GiB has a header of 64 bits.
  if (note->desc.size() == 144 && !big) return machine_by_name("i386");
  const std::span<const Row> rows =
      big ? std::span<const Row>(kBig) : std::span<const Row>(kLittle);
  for (const Row& row : rows) {
    if (row.size == note->desc.size()) return machine_by_name(row.machine);
  }
  return std::nullopt;
}

void set_machine(const ByteSource& dump, const Header& header, const ReadOptions& options,
                 GuestImage& image, Diagnostics& diagnostics) {
  auto machine = machine_by_name(header.machine);
  std::string origin = "the header";
  // uname -m of ppc64 is of the kernel that dumped; the header's order is the guest's.
  if (machine && machine->arch == Arch::ppc64) machine->order = header.order;
  if (!machine) {
    machine = machine_by_notes(header, image);
    origin = "the size of NT_PRSTATUS";
  }
  if (!machine && options.machine) {
    machine = options.machine;
    origin = "--arch";
  }
  if (!machine || machine->order != header.order ||
      (!header.is_64 && machine->arch != Arch::i386)) {
    throw Error(ErrorKind::unsupported, dump.name(), 12,
                "machine " + quoted(header.machine) + " is not supported" +
                    (machine ? "" : ", and no note tells more (give --arch)"));
  }
  image.arch = machine->arch;
  image.byte_order = machine->order;
  diagnostics.decision(dump.name(),
                       "guest of " + machine_name(*machine) + " (from " + origin + ")");
}

void check_complete(const ByteSource& dump, const Header& header, bool salvage,
                    Diagnostics& diagnostics) {
  if ((header.status & kStatusIncomplete) == 0) return;
  constexpr std::string_view kText = "the dump says itself that it is incomplete";
  if (!salvage) throw Error(ErrorKind::corrupt, dump.name(), std::nullopt, kText);
  diagnostics.loss(dump.name(), std::nullopt, kText);
}

void add_facts(const Header& header, const PageSummary& pages, bool flattened, GuestImage& image) {
  auto& facts = image.metadata.facts;
  const auto add = [&](std::string key, std::string value) {
    facts.push_back({std::move(key), std::move(value)});
  };
  add("dump.format", "kdump version " + std::to_string(header.version));
  add("dump.flattened", flattened ? "yes" : "no");
  add("dump.compression", pages.codecs);
  add("dump.level", std::to_string(header.dump_level));
  add("dump.page-size", std::to_string(header.block_size));
  add("dump.pages", std::to_string(pages.stored));
  add("dump.excluded-pages", std::to_string(pages.excluded));
  const bool known = std::any_of(facts.begin(), facts.end(),
                                 [](const Fact& f) { return f.key == "dump.release"; });
  if (!known && !header.release.empty()) add("dump.release", header.release);
}

void report_excluded(const ByteSource& dump, const Header& header, const PageSummary& pages,
                     Diagnostics& diagnostics) {
  if (pages.excluded == 0) return;
  const std::string text =
      counted(pages.excluded, "page") + " (" + human_size(pages.excluded * header.block_size) +
      ") of the guest were excluded from the dump at level " + std::to_string(header.dump_level);
  if (pages.excluded_are_zero) {
    diagnostics.decision(dump.name(), text + ": they are zero");
  } else {
    diagnostics.warn(dump.name(), text +
                                      " and are not in the output; where a raw image shows "
                                      "zeros for them, the guest may have had anything");
  }
}

GuestImage read(const Input& input, const ReadOptions& options, Diagnostics& diagnostics) {
  const auto [dump, header, flattened] = open_dump(input, options.salvage, diagnostics);
  check_complete(*dump, header, options.salvage, diagnostics);
  GuestImage image;
  add_dump_notes(*dump, read_notes(*dump, header, options.salvage, diagnostics), image);
  set_machine(*dump, header, options, image, diagnostics);
  const PageSummary pages = read_pages(dump, header, options.salvage, image, diagnostics);
  add_facts(header, pages, flattened, image);
  diagnostics.decision(dump->name(), "kdump version " + std::to_string(header.version) +
                                         ", dump level " + std::to_string(header.dump_level) +
                                         ", " + counted(pages.stored, "page") + ", compression " +
                                         pages.codecs);
  report_excluded(*dump, header, pages, diagnostics);
  return image;
}

}  // namespace

constinit const Format kKdump{
    .name = "kdump",
    .summary = "kdump-compressed dumps of QEMU and makedumpfile, plain or flattened",
    .probe = probe,
    .read = read,
};

}  // namespace vmconvert::kdump
