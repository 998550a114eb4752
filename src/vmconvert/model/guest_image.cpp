#include "vmconvert/model/guest_image.h"

#include <algorithm>

namespace vmconvert {
namespace {

/// Fills `out` with the bytes that `run`, which is as long as `out`, stands for.
void read_run(const GuestImage& image, const Run& run, std::span<std::byte> out) {
  if (const auto* fill = std::get_if<Filled>(&run.backing)) {
    std::fill(out.begin(), out.end(), fill->value);
    return;
  }
  const InFile& file = std::get<InFile>(run.backing);
  const ByteSource& source = *image.sources.at(file.source);
  if (file.stride == image.runs.page_size()) {
    source.read_at(file.at, out);
    return;
  }
  FileOffset at = file.at;
  while (!out.empty()) {
    const auto page = out.first(std::min<std::size_t>(out.size(), image.runs.page_size()));
    source.read_at(at, page);
    out = out.subspan(page.size());
    if (!out.empty()) at = at + file.stride;
  }
}

}  // namespace

std::string_view arch_name(Arch arch) {
  switch (arch) {
    case Arch::i386:
      return "i386";
    case Arch::x86_64:
      return "x86_64";
    case Arch::aarch64:
      return "aarch64";
    case Arch::s390x:
      return "s390x";
    case Arch::ppc64:
      return "ppc64";
    case Arch::riscv64:
      return "riscv64";
  }
  return "";
}

bool read_guest(const GuestImage& image, GuestPhysAddr at, std::span<std::byte> out) {
  const auto range = GuestRange::try_sized(at, out.size());
  if (!range) return false;
  // Strided runs are read page by page; widen to page borders and keep what was asked for.
  const std::uint64_t page = image.runs.page_size();
  std::vector<std::byte> buffer(page);
  for (GuestPhysAddr gpa = range->begin(); gpa < range->end();) {
    const GuestPhysAddr base{gpa.value - gpa.value % page};
    const auto whole = GuestRange::try_sized(base, page);
    if (!whole) return false;
    const GuestRange wanted = GuestRange::between(gpa, std::min(whole->end(), range->end()));
    std::uint64_t covered = 0;
    image.runs.for_each_in(*whole, [&](const Run& run) {
      covered += run.guest.intersection(wanted).size();
      read_run(image, run,
               std::span(buffer).subspan(static_cast<std::size_t>(run.guest.begin() - base),
                                         static_cast<std::size_t>(run.guest.size())));
    });
    if (covered != wanted.size()) return false;
    std::copy_n(buffer.begin() + static_cast<std::ptrdiff_t>(gpa - base), wanted.size(),
                out.begin() + static_cast<std::ptrdiff_t>(gpa - range->begin()));
    gpa = wanted.end();
  }
  return true;
}

}  // namespace vmconvert
