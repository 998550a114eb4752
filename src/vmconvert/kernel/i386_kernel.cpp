#include <algorithm>
#include <array>

#include "vmconvert/base/packed.h"
#include "vmconvert/kernel/kernel_arch.h"
#include "vmconvert/kernel/x86_vcpus.h"

namespace vmconvert {
namespace {

// Truth: Linux arch/x86/Kconfig (VMSPLIT_*), arch/x86/include/asm/page_32_types.h and
// pgtable_32_areas.h. The kernel runs in its direct map, which holds low memory.
constexpr std::uint64_t kPageOffsets[] = {0xc0000000, 0xb0000000, 0x80000000, 0x78000000,
                                          0x40000000};
constexpr std::uint64_t kEnd = std::uint64_t{1} << 32;
// Before and behind an address in the code: an image with its data is some 20 MiB, and lies on a
// border of 2 MiB or more.
constexpr std::uint64_t kBefore = 32 << 20, kBehind = 64 << 20;
constexpr std::uint64_t kDirectMapAlignment = 1 << 20;
// From low memory's end to vmalloc's begin are 8 MiB (VMALLOC_OFFSET).
constexpr std::uint64_t kGap = 4 << 20;
constexpr std::uint64_t kCr4Pae = 1 << 5;
constexpr std::uint64_t kUserHalf = 0x1000;  // KPTI, as on x86-64
constexpr std::size_t kMostMappings = 4096;

std::optional<KernelRoot> make_root(GuestPhysAddr root, bool pae, std::uint64_t in_image,
                                    std::string origin) {
  if (in_image < kPageOffsets[4] || in_image >= kEnd) return std::nullopt;
  std::vector<VirtualRange> direct_maps;
  for (const std::uint64_t page_offset : kPageOffsets)
    direct_maps.push_back(VirtualRange::between({page_offset}, {kEnd}));
  const std::uint64_t begin = std::max(in_image - kBefore, kPageOffsets[4]);
  return KernelRoot{
      .mode = i386_paging(pae),
      .root = root,
      .origin = std::move(origin),
      .image_window = VirtualRange::between({begin}, {std::min(in_image + kBehind, kEnd)}),
      .in_image = GuestVirtAddr{in_image},
      .image_alignment = 4096,
      .direct_map_windows = std::move(direct_maps),
      .direct_map_alignment = kDirectMapAlignment,
      .high_memory = true};
}

/// The address of the handler of exception 0, which is in the kernel's image.
std::optional<std::uint64_t> first_handler(const GuestImage& image, bool pae, GuestPhysAddr root,
                                           std::uint64_t idt_base) {
  std::array<std::byte, 8> gate{};
  if (!PageTables(image, i386_paging(pae), root).read({idt_base}, gate)) return std::nullopt;
  const auto descriptor = load<std::uint64_t>(gate, std::endian::little);
  return (descriptor & 0xffff) | (descriptor >> 32 & 0xffff0000);
}

std::vector<KernelRoot> roots_of_vcpus(const GuestImage& image) {
  std::vector<KernelRoot> roots;
  for (const X86Paging& vcpu : x86_vcpus(image)) {
    const bool pae = (vcpu.cr4 & kCr4Pae) != 0;
    const std::uint64_t cr3 = vcpu.cr3 & (pae ? 0xffffffe0 : 0xfffff000);
    const auto handler = first_handler(image, pae, {cr3}, vcpu.idt_base);
    if (!handler) continue;
    // Of a pair of KPTI the kernel's half first, whichever the vCPU ran on.
    for (const std::uint64_t root : {cr3 & ~kUserHalf, cr3}) {
      auto made = make_root({root}, pae, *handler, vcpu.origin);
      if (made && (roots.empty() || roots.back().root != made->root))
        roots.push_back(std::move(*made));
    }
  }
  return roots;
}

std::vector<KernelRoot> roots_of_vmcoreinfo(const GuestImage&, const Vmcoreinfo& info) {
  const auto symbol = info.symbol("swapper_pg_dir");
  const auto in_image = info.symbol("_stext");
  if (!symbol || !in_image) return {};
  std::vector<KernelRoot> roots;
  for (const std::uint64_t page_offset : kPageOffsets) {
    if (*symbol < page_offset) continue;
    auto root = make_root({*symbol - page_offset}, info.value("CONFIG_X86_PAE") == "y", *in_image,
                          "swapper_pg_dir of VMCOREINFO");
    if (root) roots.push_back(std::move(*root));
  }
  return roots;
}

/// Low memory is what the direct map holds without a break, but for what set_memory_np() took out.
void complete(KernelFacts& facts, const PageTables& tables, const std::string&) {
  if (!facts.page_offset) return;
  const std::uint64_t page_offset = facts.page_offset->value;
  GuestPhysAddr end{0};
  for (const Mapping& m :
       tables.mappings(VirtualRange::between({page_offset}, {kEnd}), kMostMappings)) {
    const std::uint64_t gpa = m.guest_physical.value;
    if (m.guest_virtual.begin().value - gpa != page_offset) continue;
    if (end.value != 0 && gpa > end.value + kGap) break;
    end = m.guest_physical + m.guest_virtual.size();
  }
  facts.direct_map_end = end;
}

}  // namespace

constinit const KernelArch kI386Kernel{.arch = Arch::i386,
                                       .roots_of_vcpus = roots_of_vcpus,
                                       .roots_of_vmcoreinfo = roots_of_vmcoreinfo,
                                       .complete = complete};

}  // namespace vmconvert
