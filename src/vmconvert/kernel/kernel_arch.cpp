#include "vmconvert/kernel/kernel_arch.h"

#include <algorithm>
#include <array>

#include "vmconvert/base/text.h"

namespace vmconvert {
namespace {

constexpr std::uint64_t kPage = 4096;
// A kernel's image takes a few mappings; a hostile one could take any number.
constexpr std::size_t kMostMappings = 4096;
// Its code and data, with a gap where its initialisation code was. More are left to the direct map.
constexpr std::size_t kMostParts = 32;
// What may lie in front of the direct map in its window, such as a process's LDT.
constexpr int kMostInFront = 8;
constexpr std::uint64_t kNear = std::uint64_t{1} << 30;

/// How far gva and gpa are apart.
std::uint64_t delta_of(const Mapping& m) {
  return m.guest_virtual.begin().value - m.guest_physical.value;
}

/// The mappings of the image: all of it lies equally far from its gpa. Other things may be mapped
/// in the window, such as modules behind the image.
std::vector<Mapping> image_mappings(const PageTables& tables, const KernelRoot& root) {
  const GuestVirtAddr begin{root.image_window.begin().value / kPage * kPage};
  auto found =
      tables.mappings(VirtualRange::between(begin, root.image_window.end()), kMostMappings);
  if (found.empty()) return {};
  std::uint64_t delta = delta_of(found.front());
  if (root.in_image) {
    const auto at = tables.translate(*root.in_image);
    if (!at) return {};
    delta = root.in_image->value - at->value;
  }
  std::erase_if(found, [&](const Mapping& m) {
    return delta_of(m) != delta || !GuestRange::try_sized(m.guest_physical, m.guest_virtual.size());
  });
  if (found.empty() || found.front().guest_virtual.begin().value % root.image_alignment != 0)
    return {};
  return found;
}

/// The largest parts of the image, ascending.
std::vector<KernelMapping> image_parts(std::vector<Mapping> mappings) {
  if (mappings.size() > kMostParts) {
    const auto larger = [](const Mapping& a, const Mapping& b) {
      return a.guest_virtual.size() > b.guest_virtual.size();
    };
    std::stable_sort(mappings.begin(), mappings.end(), larger);
    mappings.resize(kMostParts);
    std::sort(mappings.begin(), mappings.end(), [](const Mapping& a, const Mapping& b) {
      return a.guest_physical < b.guest_physical;
    });
  }
  std::vector<KernelMapping> parts;
  for (const Mapping& m : mappings) {
    parts.push_back(
        {GuestRange::sized(m.guest_physical, m.guest_virtual.size()), m.guest_virtual.begin()});
  }
  return parts;
}

/// A note of another kernel, to which something in the image points, says that its code is
/// elsewhere.
void drop_foreign_notes(KernelImageContent& content, VirtualRange image) {
  std::erase_if(content.notes, [&](const Vmcoreinfo& note) {
    const auto text = note.symbol("_stext");
    return text && !image.contains(GuestVirtAddr{*text});
  });
}

/// Looks for the direct map of a kernel whose image was found.
class DirectMap {
 public:
  DirectMap(const GuestImage& image, const PageTables& tables, const KernelRoot& root,
            const std::vector<Mapping>& kernel)
      : image_(image), tables_(tables), root_(root), kernel_(kernel) {}

  /// gva - gpa. A kernel may run in its direct map; but its image, which is mapped linearly, too,
  /// must not be taken for one.
  std::optional<std::uint64_t> find() const {
    const std::uint64_t of_image = delta_of(kernel_.front());
    for (const VirtualRange window : root_.direct_map_windows) {
      if (const auto found = find_in(window, of_image)) return found;
    }
    const bool in_window = std::any_of(
        root_.direct_map_windows.begin(), root_.direct_map_windows.end(),
        [&](VirtualRange w) { return w.contains(kernel_.front().guest_virtual.begin()); });
    if (in_window && agrees(of_image) && (root_.high_memory || maps_memory_around(of_image)))
      return of_image;
    return std::nullopt;
  }

 private:
  std::optional<std::uint64_t> find_in(VirtualRange window, std::uint64_t but_not) const {
    for (int i = 0; i < kMostInFront; ++i) {
      const auto lowest = tables_.mappings(window, 1);
      if (lowest.empty()) break;
      const std::uint64_t page_offset = delta_of(lowest.front());
      if (page_offset != but_not && agrees(page_offset)) return page_offset;
      const GuestVirtAddr next{
          align_up(lowest.front().guest_virtual.end().value, root_.direct_map_alignment)};
      if (next >= window.end()) break;
      window = VirtualRange::between(next, window.end());
    }
    return std::nullopt;
  }

  bool maps(std::uint64_t page_offset, GuestPhysAddr at, bool or_nothing) const {
    const auto to = tables_.translate({page_offset + at.value});
    return to ? *to == at : or_nothing;
  }

  /// All of the image is there, and no border of guest memory is elsewhere.
  bool agrees(std::uint64_t page_offset) const {
    if (page_offset % root_.direct_map_alignment != 0) return false;
    for (const Mapping& m : kernel_) {
      if (!maps(page_offset, m.guest_physical, false) ||
          !maps(page_offset, {m.guest_physical.value + m.guest_virtual.size() - 1}, false))
        return false;
    }
    if (root_.high_memory) return true;
    for (const GuestRange extent : image_.runs.extents()) {
      if (!maps(page_offset, extent.begin(), true) ||
          !maps(page_offset, {extent.end().value - 1}, true))
        return false;
    }
    return true;
  }

  /// Of the memory near the image most is mapped.
  bool maps_memory_around(std::uint64_t page_offset) const {
    const std::uint64_t at = kernel_.front().guest_physical.value;
    const auto near = GuestRange::between({at - std::min(at, kNear)},
                                          {at > UINT64_MAX - kNear ? UINT64_MAX : at + kNear});
    std::uint64_t present = 0, mapped = 0;
    for (const GuestRange extent : image_.runs.extents()) {
      const GuestRange part = extent.intersection(near);
      const auto there = VirtualRange::try_sized({page_offset + part.begin().value}, part.size());
      present += part.size();
      if (part.empty() || !there) continue;
      for (const Mapping& m : tables_.mappings(*there, kMostMappings))
        if (delta_of(m) == page_offset) mapped += m.guest_virtual.size();
    }
    return mapped >= present / 4 * 3;
  }

  const GuestImage& image_;
  const PageTables& tables_;
  const KernelRoot& root_;
  const std::vector<Mapping>& kernel_;
};

}  // namespace

const KernelArch* find_kernel_arch(Arch arch) {
  static constexpr std::array kAll{&kX86_64Kernel,  &kI386Kernel,  &kAarch64Kernel,
                                   &kRiscv64Kernel, &kS390xKernel, &kPpc64Kernel};
  const auto found = std::find_if(kAll.begin(), kAll.end(),
                                  [&](const KernelArch* known) { return known->arch == arch; });
  return found == kAll.end() ? nullptr : *found;
}

std::optional<FoundKernel> try_root(const GuestImage& image, const KernelArch& arch,
                                    const KernelRoot& root) {
  const PageTables tables(image, root.mode, root.root);
  const std::vector<Mapping> mappings = image_mappings(tables, root);
  if (mappings.empty()) return std::nullopt;
  const auto page_offset = DirectMap(image, tables, root, mappings).find();
  KernelImageContent content = search_kernel_image(image, mappings, page_offset);
  if (content.banner.empty()) return std::nullopt;
  drop_foreign_notes(content, VirtualRange::between(mappings.front().guest_virtual.begin(),
                                                    mappings.back().guest_virtual.end()));
  if (root.needs_note && content.notes.empty()) return std::nullopt;

  const std::string walked = "page tables at " + hex(root.root.value) + ", " + root.origin;
  KernelFacts facts{.banner = content.banner,
                    .release = release_of(content.banner),
                    .phys_base = {},
                    .kaslr_offset = {},
                    .page_offset = {},
                    .direct_map_end = {},
                    .page_tables = Derived<GuestPhysAddr>{root.root, root.origin},
                    .image = image_parts(mappings)};
  if (page_offset) facts.page_offset = {*page_offset, walked};
  if (arch.complete != nullptr) arch.complete(facts, tables, walked);
  // Where the kernel runs in its direct map there is no other address to tell.
  if (page_offset == delta_of(mappings.front())) facts.image.clear();
  return FoundKernel{std::move(facts), std::move(content), tables};
}

std::optional<std::uint64_t> offset_in_guest(const FoundKernel& kernel, const Vmlinux& vmlinux) {
  const auto banner = first_symbol(vmlinux, {"linux_banner"}),
             text = first_symbol(vmlinux, {"_stext"});
  if (!banner || !text) return std::nullopt;
  for (const GuestVirtAddr place : kernel.content.banner_places) {
    const std::uint64_t offset = place.value - *banner;
    if (offset % kPage != 0) continue;
    const auto code = kernel.tables.translate({*text + offset}),
               data = kernel.tables.translate(place);
    if (code && data && place.value - data->value == *text + offset - code->value) return offset;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> first_symbol(const Vmlinux& vmlinux,
                                          std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) {
    if (const auto found = vmlinux.symbols.find(name); found != vmlinux.symbols.end())
      return found->second;
  }
  return std::nullopt;
}

}  // namespace vmconvert
