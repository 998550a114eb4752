#include "elf/own_vmcore.h"

#include <algorithm>
#include <string_view>

#include "vmconvert/base/packed.h"
#include "vmconvert/base/text.h"

namespace vmconvert::elf_dump {
namespace {

// docs/writers/elf.md, "Notes".
constexpr std::string_view kOwnName = "VMCONVERT", kXenName = "Xen";
constexpr std::uint32_t kXenP2m = 1, kXenCrashInfo = 0x1000001;
constexpr std::uint64_t kPage = 4096;

bool is_own(const Note& note) {
  return note.name == kOwnName && note.type == kXenP2m && note.desc.size() == 16;
}

/// The version of Xen, as its note has it.
void take_version(const std::vector<Note>& notes, XenFacts& xen) {
  for (const Note& note : notes) {
    if (note.name != kXenName || note.type != kXenCrashInfo || note.desc.size() < 16) continue;
    xen.major = load<std::uint64_t>(note.desc, std::endian::little);
    xen.minor = load<std::uint64_t>(std::span(note.desc).subspan(8), std::endian::little);
  }
}

}  // namespace

void drop_own_p2m(const std::string& file, GuestImage& image, Diagnostics& diagnostics) {
  const auto own = std::find_if(image.notes.begin(), image.notes.end(), is_own);
  if (own == image.notes.end() || image.arch != Arch::x86_64) return;
  const GuestPhysAddr begin{load<std::uint64_t>(own->desc, std::endian::little)};
  const auto place = GuestRange::try_sized(
      begin, load<std::uint64_t>(std::span(own->desc).subspan(8), std::endian::little));
  // It is the last range of all, behind a gap: nothing else can be hidden so.
  const std::vector<GuestRange> extents = image.runs.extents();
  if (!place || extents.size() < 2 || extents.back() != *place || begin.value % kPage != 0) return;
  RunListBuilder runs(image.runs.page_size());
  for (const Run& run : image.runs) {
    if (run.guest.end() <= begin) runs.add(run);
  }
  image.runs = runs.finish();
  image.xen = XenFacts{.type = XenGuestType::pv};
  take_version(image.notes, *image.xen);
  std::erase_if(image.notes, [](const Note& note) {
    return is_own(note) || (note.name == kXenName && note.type == kXenCrashInfo);
  });
  diagnostics.decision(file, "vmconvert's own p2m of a Xen PV guest at " + hex(begin.value) +
                                 " is no memory of the guest, and left out");
}

}  // namespace vmconvert::elf_dump
