#include "elf/elf_writer.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "elf/elf_format.h"
#include "elf/elf_notes.h"
#include "elf/xen_p2m.h"

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
  std::uint64_t p_paddr = guest.begin().value;
};

/// The extents, with the kernel's image cut out of those it lies in: a consumer that looks for its
/// code and data by virtual address finds them, and none sees an address twice.
std::vector<Segment> segments_of(const GuestImage& image) {
  const KernelFacts& kernel = image.kernel;
  std::vector<Segment> segments;
  const auto add = [&](GuestPhysAddr begin, GuestPhysAddr end) {
    const GuestPhysAddr map_end = std::clamp(kernel.direct_map_end.value_or(end), begin, end);
    const std::uint64_t page_offset = kernel.page_offset ? kernel.page_offset->value : 0;
    if (kernel.page_offset && begin < map_end)
      segments.push_back({GuestRange::between(begin, map_end), page_offset + begin.value});
    const GuestPhysAddr rest = kernel.page_offset ? map_end : begin;
    if (rest < end) segments.push_back({GuestRange::between(rest, end), 0});
  };
  for (const GuestRange extent : image.runs.extents()) {
    GuestPhysAddr at = extent.begin();
    for (const KernelMapping& mapping : kernel.image) {
      const GuestRange part = GuestRange::between(at, extent.end()).intersection(mapping.guest);
      if (part.empty()) continue;
      add(at, part.begin());
      segments.push_back({part, mapping.at.value + (part.begin() - mapping.guest.begin())});
      at = part.end();
    }
    add(at, extent.end());
  }
  return segments;
}

/// The same, cut where machine frames are not neighbours, which are their physical addresses. What
/// has no machine frame is left out.
std::vector<Segment> in_machine_layout(const std::vector<Segment>& segments,
                                       const std::vector<FrameStretch>& layout) {
  constexpr std::uint64_t kPageShift = 12;
  std::vector<Segment> result;
  auto first = layout.begin();
  for (const Segment& segment : segments) {
    for (auto stretch = first; stretch != layout.end(); ++stretch) {
      const auto range =
          GuestRange::sized({stretch->pfn << kPageShift}, stretch->count << kPageShift);
      if (range.begin() >= segment.guest.end()) break;
      first = stretch;  // it may go on in the next segment
      const GuestRange part = range.intersection(segment.guest);
      if (part.empty()) continue;
      const std::uint64_t p_vaddr =
          segment.p_vaddr == 0 ? 0 : segment.p_vaddr + (part.begin() - segment.guest.begin());
      result.push_back(
          {part, p_vaddr, (stretch->frame << kPageShift) + (part.begin() - range.begin())});
    }
  }
  std::sort(result.begin(), result.end(),
            [](const Segment& a, const Segment& b) { return a.p_paddr < b.p_paddr; });
  return result;
}

std::uint32_t flags_of(const GuestImage& image) {
  if (image.arch != Arch::ppc64) return 0;
  return image.byte_order == std::endian::big ? kEfPpc64ElfV1 : kEfPpc64ElfV2;
}

/// Of the p2m: where the kernel would see it if it were memory, so that no consumer finds it at an
/// address that means something else.
std::uint64_t xen_p_vaddr(const GuestImage& image, const XenView& xen) {
  const bool known = image.kernel.page_offset && image.xen->machine_layout.empty();
  return known ? image.kernel.page_offset->value + xen.place.begin().value : 0;
}

template <class L>
OutputPlan plan_in(const GuestImage& image) {
  using Ehdr64 = typename L::Ehdr64;
  using Phdr64 = typename L::Phdr64;
  using Shdr64 = typename L::Shdr64;
  std::vector<Segment> segments = segments_of(image);
  if (image.xen && !image.xen->machine_layout.empty())
    segments = in_machine_layout(segments, image.xen->machine_layout);
  const std::optional<XenView> xen = xen_view_of(image);
  const std::vector<std::byte> notes =
      make_notes(image, xen ? std::optional(xen->place) : std::nullopt);
  const std::uint64_t phnum = segments.size() + (xen ? 2 : 1);
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
  const auto load = [&](std::uint64_t p_vaddr, std::uint64_t p_paddr, std::uint64_t size) {
    append(headers, Phdr64{.p_type = kPtLoad,
                           .p_flags = kPfRwx,
                           .p_offset = offset,
                           .p_vaddr = p_vaddr,
                           .p_paddr = p_paddr,
                           .p_filesz = size,
                           .p_memsz = size});
    offset = checked_add(offset, align_up(size, kDataAlignment));
  };
  for (const Segment& segment : segments)
    load(segment.p_vaddr, segment.p_paddr, segment.guest.size());
  if (xen) load(xen_p_vaddr(image, *xen), xen->place.begin().value, xen->place.size());
  if (many) append(headers, Shdr64{.sh_info = checked_cast<std::uint32_t>(phnum)});
  headers.insert(headers.end(), notes.begin(), notes.end());
  plan.literal(std::move(headers));
  for (const Segment& segment : segments) {
    plan.align(kDataAlignment);
    plan.guest(segment.guest);
  }
  if (xen) {
    plan.align(kDataAlignment);
    plan.generated(xen->p2m);
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
    .takes_machine_layout = true,
};

}  // namespace vmconvert::elf
