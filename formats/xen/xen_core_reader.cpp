#include "xen/xen_core_reader.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "vmconvert/base/text.h"
#include "vmconvert/io/elf_file.h"
#include "xen/core_elf.h"
#include "xen/core_index.h"
#include "xen/old_core.h"
#include "xen/vcpu_context.h"
#include "xen/xen_format.h"
#include "xen/xen_metadata.h"

namespace vmconvert::xen {
namespace {

constexpr std::uint16_t kMachineArm = 40;  // of AArch64 guests as well
constexpr std::uint64_t kP2mEntry = 16, kPfnEntry = 8;

Match probe(const ProbeWindow& window) noexcept {
  if (is_old_core(window.head)) return Match::yes;
  const auto header = peek_elf_header(window.head);
  if (!header || header->e_type != elf::kTypeCore || header->e_phnum != 0 ||
      header->order != std::endian::little) {
    return Match::no;
  }
  // The notes follow the section headers at once.
  const std::uint64_t table = std::uint64_t{header->e_shnum} * header->e_shentsize;
  const auto notes = FileRange::try_sized({header->e_shoff}, table);
  if (notes && notes->end().value < window.head.size() &&
      is_core_note(window.head.subspan(static_cast<std::size_t>(notes->end().value)))) {
    return Match::yes;
  }
  // Of e_shnum 0, section 0 has the number.
  return header->e_shoff != 0 && header->e_shnum != 1 ? Match::maybe : Match::no;
}

/// A core's parts, found by the names of its sections.
class ElfCore {
 public:
  ElfCore(const Input& input, const ReadOptions& options, Diagnostics& diagnostics)
      : input_(input), source_(*input.source()), options_(options), diagnostics_(diagnostics) {}

  GuestImage read() {
    read_head();
    GuestImage image;
    image.sources.push_back(input_.source());
    image.metadata.facts.push_back({"dump.format", "Xen dump-core"});
    image.metadata.facts.insert(image.metadata.facts.end(), notes_.facts.begin(),
                                notes_.facts.end());
    image.xen = facts();
    place(image);
    if (const CoreSection* shared = find(".xen_shared_info");
        shared != nullptr && shared->range.size() >= kPage)
      image.xen->shared_info = SourceBytes{0, FileRange::sized(shared->range.begin(), kPage)};
    read_vcpus(image);
    set_arch(source_.name(), false, options_, image, diagnostics_);
    resolve_tables(source_.name(), options_, image, diagnostics_);
    add_guest_facts(image);
    report_guest(source_.name(), image, diagnostics_);
    return image;
  }

 private:
  void read_head() {
    std::array<std::byte, 64> head{};
    const auto present =
        std::span(head).first(std::min<std::uint64_t>(source_.size(), head.size()));
    source_.read_at({0}, present);
    const auto header = peek_elf_header(present);
    if (!header || header->e_type != elf::kTypeCore)
      throw Error(ErrorKind::corrupt, source_.name(), 0, "is no Xen dump-core");
    header_ = *header;
    if (header_.order != std::endian::little) fail_unsupported("is a big-endian dump-core");
    if (header_.e_machine != elf::kMachine386 && header_.e_machine != elf::kMachineX86_64 &&
        header_.e_machine != kMachineArm && header_.e_machine != elf::kMachineAarch64) {
      fail_unsupported("is of a guest that is not supported (e_machine " +
                       std::to_string(header_.e_machine) + ")");
    }
    sections_ = read_core_sections(source_, header_);
    notes_ = read_core_notes(source_, need(".note.Xen").range, header_.order);
  }

  const CoreSection* find(std::string_view name) const {
    const CoreSection* found = nullptr;
    for (const CoreSection& section : sections_) {
      if (section.name != name) continue;
      if (found != nullptr) fail("has two sections " + std::string(name));
      found = &section;
    }
    return found;
  }

  const CoreSection& need(std::string_view name) const {
    const CoreSection* section = find(name);
    if (section == nullptr) fail("has no section " + std::string(name));
    return *section;
  }

  XenFacts facts() const {
    XenFacts xen;
    const bool arm = header_.e_machine == kMachineArm || header_.e_machine == elf::kMachineAarch64;
    xen.type = arm ? XenGuestType::arm : notes_.pv ? XenGuestType::pv : XenGuestType::hvm;
    xen.major = notes_.major, xen.minor = notes_.minor;
    if (xen.type == XenGuestType::pv) {
      xen.tables = XenTables::machine;
      if (header_.e_machine == elf::kMachine386) xen.width = 4;
    }
    return xen;
  }

  void place(GuestImage& image) {
    const CoreSection& pages = need(".xen_pages");
    const CoreSection *p2m = find(".xen_p2m"), *pfn = find(".xen_pfn");
    if ((p2m != nullptr) == (pfn != nullptr))
      fail(p2m != nullptr ? "has both .xen_p2m and .xen_pfn" : "has neither .xen_p2m nor .xen_pfn");
    if (p2m != nullptr && image.xen->type != XenGuestType::pv)
      fail("has a .xen_p2m, which is for PV guests");
    const CoreSection& entries = p2m != nullptr ? *p2m : *pfn;
    const std::uint64_t size = p2m != nullptr ? kP2mEntry : kPfnEntry;
    if (entries.entsize != size) {
      fail("has entries of " + std::to_string(entries.entsize) + " bytes in " + entries.name +
           " instead of " + std::to_string(size));
    }
    CoreIndex index{pages.range.begin(), entries.range.begin(), static_cast<std::uint32_t>(size)};
    index.count =
        std::min({notes_.nr_pages, pages.range.size() / kPage, entries.range.size() / size});
    if (notes_.nr_pages != pages.range.size() / kPage ||
        notes_.nr_pages != entries.range.size() / size) {
      diagnostics_.warn(
          source_.name(),
          "the core does not agree on how many pages it has: " + std::to_string(notes_.nr_pages) +
              " by its header, " + std::to_string(pages.range.size() / kPage) + " by their size, " +
              std::to_string(entries.range.size() / size) + " by their index; the least is taken");
    }
    PlacedPages placed = place_pages(source_, index, options_.salvage);
    report(placed);
    image.runs = std::move(placed.runs);
    if (p2m != nullptr) {
      constexpr std::uint64_t kMfnAt = 8;
      image.xen->p2m = XenP2mTable{.pages = index.pages,
                                   .entries = index.entries + kMfnAt,
                                   .count = index.count,
                                   .stride = index.stride};
      // The last entry's mfn lies within the section, whose entries are whole.
    }
  }

  void report(const PlacedPages& placed) {
    if (placed.unused != 0) {
      diagnostics_.decision(source_.name(), "unused slots for " + counted(placed.unused, "page"));
    }
    if (placed.repeated != 0) {
      diagnostics_.warn(source_.name(), counted(placed.repeated, "page") +
                                            " of the core came before; of each the first is kept");
    }
    if (placed.too_high != 0) {
      diagnostics_.loss(source_.name(), std::nullopt,
                        "left out: " + counted(placed.too_high, "page") +
                            " with a pfn higher than a guest can have");
    }
  }

  void read_vcpus(GuestImage& image) {
    const XenFacts& xen = *image.xen;
    if (xen.type == XenGuestType::arm) {
      diagnostics_.warn(source_.name(),
                        "dump-cores of Arm guests hold at most the first 128 MiB of memory");
    }
    const CoreSection* section = find(".xen_prstatus");
    const std::uint64_t count = notes_.nr_vcpus;
    if (section == nullptr || count == 0) {
      diagnostics_.warn(source_.name(), "no registers: the core holds none");
      return;
    }
    const std::uint64_t stride = section->range.size() / count;
    const bool narrow = xen.type == XenGuestType::pv && xen.width == 4;
    const std::uint64_t needed = xen.type == XenGuestType::arm ? kContextArm
                                 : narrow                      ? kContext32
                                                               : kContext64;
    if (stride < needed) {
      diagnostics_.warn(source_.name(), "no registers: those of a vCPU have " +
                                            std::to_string(stride) + " bytes instead of " +
                                            std::to_string(needed));
      return;
    }
    for (std::uint64_t i = 0; i < count; ++i) {
      const FileOffset at = section->range.begin() + i * stride;
      if (xen.type != XenGuestType::arm) {
        add_vcpu(read_x86_context(source_, at, xen.type, xen.width, xen.tables), source_.name(),
                 image, diagnostics_);
        continue;
      }
      const auto context = read_arm_context(source_, at);
      if (!context) fail_unsupported("is of a guest of 32-bit ARM, which is not supported");
      add_vcpu(*context, source_.name(), image, diagnostics_);
    }
  }

  [[noreturn]] void fail(const std::string& why) const {
    throw Error(ErrorKind::corrupt, source_.name(), std::nullopt, why);
  }
  [[noreturn]] void fail_unsupported(const std::string& why) const {
    throw Error(ErrorKind::unsupported, source_.name(), std::nullopt, why);
  }

  const Input& input_;
  const ByteSource& source_;
  const ReadOptions& options_;
  Diagnostics& diagnostics_;
  ElfHeader header_;
  std::vector<CoreSection> sections_;
  CoreNotes notes_;
};

GuestImage read(const Input& input, const ReadOptions& options, Diagnostics& diagnostics) {
  std::array<std::byte, 24> head{};
  const ByteSource& source = *input.source();
  const auto present = std::span(head).first(std::min<std::uint64_t>(source.size(), head.size()));
  source.read_at({0}, present);
  if (is_old_core(present)) return read_old_core(input, options, diagnostics);
  return ElfCore(input, options, diagnostics).read();
}

}  // namespace

constinit const Format kXenCore{
    .name = "xen-core",
    .summary = "dump-core of a Xen guest (xl dump-core, virsh dump, on_crash=coredump-...)",
    .probe = probe,
    .read = read,
};

}  // namespace vmconvert::xen
