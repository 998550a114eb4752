#include "elf/elf_writer.h"

#include <array>
#include <string_view>
#include <vector>

#include "elf/elf_format.h"
#include "elf/elf_notes.h"

namespace vmconvert::elf {
namespace {

using namespace std::string_view_literals;

// The layout that suits crash, drgn, libkdumpfile, makedumpfile, gdb and Volatility 3 alike; why
// each line is as it is: docs/writers/elf.md.
constexpr std::uint64_t kDataAlignment = 4096;

std::uint16_t machine_of(Arch arch) {
  switch (arch) {
    case Arch::i386:
      return kEm386;
    case Arch::x86_64:
      return kEmX86_64;
    case Arch::aarch64:
      return kEmAarch64;
    case Arch::s390x:
      return kEmS390;
    case Arch::ppc64:
      return kEmPpc64;
    case Arch::riscv64:
      return kEmRiscv;
  }
  return 0;
}

/// One PT_LOAD.
struct Segment {
  GuestRange guest;
  std::uint64_t p_vaddr = 0;  ///< 0: not known
};

/// The extents, with the kernel's image cut out of the one it lies in: a consumer that looks for
/// its code and data by virtual address finds them, and none sees an address twice.
std::vector<Segment> segments_of(const GuestImage& image) {
  const auto& kernel = image.kernel;
  std::vector<Segment> segments;
  const auto add = [&](GuestRange guest) {
    if (guest.empty()) return;
    const std::uint64_t p_vaddr =
        kernel.page_offset ? kernel.page_offset->value + guest.begin().value : 0;
    segments.push_back({guest, p_vaddr});
  };
  for (const GuestRange extent : image.runs.extents()) {
    const GuestRange part = kernel.image ? extent.intersection(kernel.image->guest) : GuestRange();
    if (part.empty()) {
      add(extent);
      continue;
    }
    add(GuestRange::between(extent.begin(), part.begin()));
    segments.push_back(
        {part, kernel.image->at.value + (part.begin() - kernel.image->guest.begin())});
    add(GuestRange::between(part.end(), extent.end()));
  }
  return segments;
}

std::uint32_t flags_of(const GuestImage& image) {
  if (image.arch != Arch::ppc64) return 0;
  return image.byte_order == std::endian::big ? kEfPpc64ElfV1 : kEfPpc64ElfV2;
}

template <class L>
OutputPlan plan_in(const GuestImage& image) {
  using Ehdr64 = typename L::Ehdr64;
  using Phdr64 = typename L::Phdr64;
  using Shdr64 = typename L::Shdr64;
  const std::vector<Segment> segments = segments_of(image);
  const std::vector<std::byte> notes = make_notes(image);
  const std::uint64_t phnum = segments.size() + 1;
  const bool many = phnum >= kPnXnum;
  const std::uint64_t headers_end =
      sizeof(Ehdr64) + phnum * sizeof(Phdr64) + (many ? sizeof(Shdr64) : 0);
  const std::uint64_t notes_at = headers_end;
  const std::uint64_t data_at = align_up(notes_at + notes.size(), kDataAlignment);

  Ehdr64 ehdr{.e_machine = machine_of(image.arch),
              .e_flags = flags_of(image),
              .e_phnum = static_cast<std::uint16_t>(many ? kPnXnum : phnum)};
  if (many) {
    ehdr.e_shoff = headers_end - sizeof(Shdr64);
    ehdr.e_shentsize = static_cast<std::uint16_t>(sizeof(Shdr64));
    ehdr.e_shnum = std::uint16_t{1};
  }
  std::vector<std::byte> headers;
  headers.reserve(headers_end + notes.size());
  append(headers, ehdr);
  append(headers, Phdr64{.p_type = kPtNote,
                         .p_offset = notes_at,
                         .p_filesz = notes.size(),
                         .p_memsz = notes.size()});
  PlanBuilder plan;
  std::uint64_t offset = data_at;
  for (const auto& [guest, p_vaddr] : segments) {
    append(headers, Phdr64{.p_type = kPtLoad,
                           .p_flags = kPfRwx,
                           .p_offset = offset,
                           .p_vaddr = p_vaddr,
                           .p_paddr = guest.begin().value,
                           .p_filesz = guest.size(),
                           .p_memsz = guest.size()});
    offset = checked_add(offset, align_up(guest.size(), kDataAlignment));
  }
  if (many) append(headers, Shdr64{.sh_info = checked_cast<std::uint32_t>(phnum)});
  headers.insert(headers.end(), notes.begin(), notes.end());
  plan.literal(std::move(headers));
  for (const Segment& segment : segments) {
    plan.align(kDataAlignment);
    plan.guest(segment.guest);
  }
  return std::move(plan).finish();
}

OutputPlan plan_elf(const GuestImage& image, const WriteOptions&) {
  return with_layout(image.byte_order, [&]<class L>(L) { return plan_in<L>(image); });
}

constexpr std::array kSuffixes{".elf"sv, ".core"sv, ".vmcore"sv, ".dump"sv};

}  // namespace

constinit const OutputFormat kElf{
    .name = "elf",
    .summary = "ELF64 vmcore for crash, drgn, gdb, libkdumpfile, Volatility 3",
    .suffixes = kSuffixes,
    .plan = plan_elf,
    .tells_of_kernel = true,
};

}  // namespace vmconvert::elf
