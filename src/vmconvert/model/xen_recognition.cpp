#include <algorithm>
#include <array>
#include <string_view>

#include "vmconvert/base/text.h"
#include "vmconvert/model/xen_banner.h"
#include "vmconvert/model/xen_page_scan.h"
#include "vmconvert/model/xen_resolve.h"
#include "vmconvert/model/xen_search.h"

namespace vmconvert {
namespace {

constexpr std::uint64_t kPageShift = 12;
constexpr std::string_view kWayOut = "; --xen-layout asis leaves its page tables as they are";

/// True if a kernel is reached through page tables with frames of the guest.
bool is_translated(const GuestImage& image, const XenFirstLook& look) {
  return std::any_of(look.plain.begin(), look.plain.end(), [&](std::uint32_t root) {
    return maps_linux(image, {root}, [](std::uint64_t frame) { return Pfn{frame}; });
  });
}

/// True if the kernel's mapping of the first memory is in the image with frames of the guest: of a
/// 32-bit guest, whose L3s nothing tells, this shows that its page tables are translated.
bool maps_low_memory_by_pfns(const GuestImage& image) {
  constexpr std::size_t kBlocks = 64, kMostOthers = 51;
  std::array<bool, kBlocks> mapped{};
  for_each_guest_page(image, {~std::uint64_t{0}}, [&](std::uint32_t, auto page) {
    const XenWords words(page);
    const std::uint64_t first = xen_entry_frame(words[0]);
    if ((words[0] & 1) == 0 || first % kXenSlots != 0 || first / kXenSlots >= kBlocks) return true;
    std::size_t others = 0;
    for (std::size_t slot = 0; slot < kXenSlots && others <= kMostOthers; ++slot)
      others += (words[slot] & 1) == 0 || xen_entry_frame(words[slot]) != first + slot ? 1U : 0U;
    if (others <= kMostOthers) mapped.at(static_cast<std::size_t>(first / kXenSlots)) = true;
    return true;
  });
  const std::uint64_t whole = image.runs.total_bytes() >> kPageShift >> 9;
  const auto found = static_cast<std::uint64_t>(std::count(mapped.begin(), mapped.end(), true));
  return found != 0 && found * 2 >= std::min<std::uint64_t>(whole, kBlocks);
}

/// CR3s in the notes of a vmcore that was made of such a guest.
void translate_notes(const XenM2p& m2p, GuestImage& image) {
  // Truth: QEMU 7.2, target/i386/arch_dump.c, QEMUCPUState.
  constexpr std::size_t kCr3 = 416, kCr3End = kCr3 + sizeof(le64);
  XenM2p::Lookup lookup(m2p);
  for (Note& note : image.notes) {
    if (note.name != "QEMU" || note.desc.size() < kCr3End) continue;
    const auto bytes = std::span(note.desc).subspan(kCr3, sizeof(le64));
    const auto frame = xen_entry_frame(load<std::uint64_t>(bytes, std::endian::little));
    const auto page = lookup.find({frame});
    const le64 cr3 = page ? page->value << kPageShift : 0;
    const auto replaced = std::as_bytes(std::span(&cr3, 1));
    std::copy(replaced.begin(), replaced.end(), bytes.begin());
  }
}

void tell(const std::string& file, const FoundXenP2m& found, GuestImage& image,
          Diagnostics& diagnostics) {
  auto& facts = image.metadata.facts;
  facts.push_back({"xen.p2m", found.form + ", found in the guest's memory"});
  facts.push_back({"xen.p2m-frames", std::to_string(found.frames)});
  if (found.identity != 0) facts.push_back({"xen.p2m-identity", std::to_string(found.identity)});
  if (found.foreign != 0) facts.push_back({"xen.p2m-foreign", std::to_string(found.foreign)});
  diagnostics.decision(
      file, "memory of a Xen PV guest with machine frames in its page tables; p2m: " + found.form +
                ", " + counted(found.frames, "frame") + " in " + counted(found.blocks, "page") +
                (found.mapped_blocks == 0 ? ""
                                          : ", those of " + counted(found.mapped_blocks, "page") +
                                                " from the direct map alone"));
  diagnostics.decision(file, "the p2m agrees with " + counted(found.seeds, "page") +
                                 " that tell their frame, and with the direct map in " +
                                 std::to_string(found.agreeing) + " of " +
                                 counted(found.agreeing + found.differing, "frame"));
  if (found.identity + found.foreign != 0) {
    diagnostics.decision(file, std::to_string(found.identity) +
                                   " entries of the p2m are identity, " +
                                   std::to_string(found.foreign) + " of other guests: left out");
  }
  if (found.copies != 0)
    diagnostics.decision(file, counted(found.copies, "page") + " hold copies of page-table roots");
  if (found.lost_tables != 0) {
    diagnostics.warn(file,
                     counted(found.lost_tables, "page table") +
                         " of the direct map cannot be found: machine frames of the 2 MiB that "
                         "each maps may be missing");
  }
}

}  // namespace

void resolve_found_xen(const std::string& file, XenLayout layout, GuestImage& image,
                       Diagnostics& diagnostics) {
  const XenFirstLook look = look_for_xen(image);
  // The memory of a whole machine that runs Xen: its frames are the image's own.
  if (look.own_frames * 2 > look.self_mapped.size()) return;
  if (look.narrow_start_info && look.self_mapped.empty() && !maps_low_memory_by_pfns(image)) {
    throw Error(ErrorKind::unsupported, file, std::nullopt,
                "looks like memory of a 32-bit Xen PV guest whose page tables hold machine frames, "
                "which only its dump-core translates" +
                    std::string(kWayOut));
  }
  if (look.self_mapped.empty()) return;
  if (is_translated(image, look)) {
    image.metadata.facts.push_back({"xen.page-tables", "guest frames"});
    diagnostics.decision(file, "memory of a Xen PV guest whose page tables hold its own frames: " +
                                   counted(look.self_mapped.size(), "page") +
                                   " with machine frames are page tables no longer in use");
    return;
  }
  FoundXenP2m found = find_xen_p2m(image);
  if (!found.refusal.empty()) {
    throw Error(ErrorKind::unsupported, file, std::nullopt,
                "looks like memory of a Xen PV guest whose page tables hold machine frames, but " +
                    found.refusal + std::string(kWayOut));
  }
  image.xen = XenFacts{.type = XenGuestType::pv, .tables = XenTables::machine};
  tell(file, found, image, diagnostics);
  if (layout == XenLayout::resolved) translate_notes(*found.m2p, image);
  resolve_xen_tables(file, std::move(found.m2p), found.roots, image, diagnostics);
}

}  // namespace vmconvert
