#include <algorithm>
#include <bit>

#include "vmconvert/kernel/kernel_arch.h"
#include "vmconvert/kernel/synthesised_vmcoreinfo.h"

namespace vmconvert {
namespace {

// Truth: Linux Documentation/arch/arm64/memory.rst, arch/arm64/include/asm/memory.h.
constexpr std::uint64_t kTableMask = 0x0000ffffffffffc0;  // TTBR1_EL1.BADDR, without FEAT_LPA
constexpr std::uint64_t kSctlrMmu = 1;
// The image is some 40 MiB, larger with debugging options; modules lie up to 128 MiB below it.
constexpr std::uint64_t kBefore = 64 << 20, kBehind = 192 << 20;
constexpr std::uint64_t kDirectMapAlignment = 128 << 20;  // ARM64_MEMSTART_ALIGN, the smallest

/// What TCR_EL1 says of the kernel's half.
struct Granule {
  unsigned page_shift = 0;
  std::uint64_t va_bits = 0;
  bool wide = false;  ///< 52-bit addresses with pages of 4 or 16 KiB
};

std::optional<KernelRoot> make_root(const GuestImage& image, std::uint64_t root, Granule granule,
                                    std::uint64_t in_image, std::string origin) {
  const std::uint64_t va_bits = granule.va_bits;
  if (va_bits < 36 || va_bits > 52 || granule.page_shift < 12 || in_image < kBefore ||
      in_image > UINT64_MAX - kBehind)
    return std::nullopt;
  PagingMode mode =
      aarch64_paging(granule.page_shift, static_cast<unsigned>(va_bits), granule.wide);
  mode.order = image.byte_order;
  const GuestVirtAddr page_offset{-(std::uint64_t{1} << va_bits)};
  const GuestVirtAddr page_end{-(std::uint64_t{1} << (va_bits - 1))};
  return KernelRoot{
      .mode = std::move(mode),
      .root = {root},
      .origin = std::move(origin),
      .image_window = VirtualRange::between({in_image - kBefore}, {in_image + kBehind}),
      .in_image = GuestVirtAddr{in_image},
      .image_alignment = 4096,
      // Since 5.4 the direct map is the lower half; before, the upper.
      .direct_map_windows = {VirtualRange::between(page_offset, page_end),
                             VirtualRange::between(page_end, {UINT64_MAX - 0xffffffff})},
      .direct_map_alignment = kDirectMapAlignment};
}

Granule granule_of(std::uint64_t tcr) {
  constexpr unsigned kShifts[] = {0, 14, 12, 16};  // TG1; 0 is reserved
  return {kShifts[(tcr >> 30) & 3], 64 - ((tcr >> 16) & 0x3f), (tcr >> 59 & 1) != 0};
}

std::vector<KernelRoot> roots_of_vcpus(const GuestImage& image) {
  std::vector<KernelRoot> roots;
  for (std::size_t i = 0; i < image.vcpus.size(); ++i) {
    const auto* vcpu = std::get_if<Aarch64Registers>(&image.vcpus[i]);
    if (vcpu == nullptr || !vcpu->el1 || (vcpu->el1->sctlr & kSctlrMmu) == 0) continue;
    const auto& el1 = *vcpu->el1;
    // The exception vectors are in the image, unless the vCPU is in user mode under KPTI.
    auto root = make_root(image, el1.ttbr1 & kTableMask, granule_of(el1.tcr), el1.vbar,
                          "TTBR1_EL1 of vCPU " + std::to_string(i));
    const bool known = root && std::any_of(roots.begin(), roots.end(), [&](const KernelRoot& r) {
                         return r.root == root->root && r.in_image == root->in_image;
                       });
    if (root && !known) roots.push_back(std::move(*root));
  }
  return roots;
}

std::vector<KernelRoot> roots_of_vmcoreinfo(const GuestImage& image, const Vmcoreinfo& info) {
  const auto symbol = info.symbol("swapper_pg_dir");
  const auto voffset = info.number("kimage_voffset");
  const auto most_va_bits = info.number("VA_BITS");
  const auto page_size = info.value("PAGESIZE");
  if (!symbol || !voffset || !most_va_bits || !page_size) return {};
  Granule granule{.page_shift = *page_size == "4096" ? 12U : *page_size == "16384" ? 14U : 16U};
  granule.va_bits = static_cast<std::uint64_t>(*most_va_bits);
  if (const auto t1sz = info.number("TCR_EL1_T1SZ"))
    granule.va_bits = 64 - static_cast<std::uint64_t>(*t1sz);
  granule.wide = granule.page_shift != 16 && granule.va_bits > 48;
  const std::uint64_t root = *symbol - static_cast<std::uint64_t>(*voffset);
  // Of a kernel for 52 bits on a processor that has 48 the upper end of the first table is in use.
  const unsigned top_shift = granule.page_shift == 16 ? 42 : granule.page_shift == 14 ? 47 : 48;
  std::uint64_t unused = 0;
  if (*most_va_bits == 52 && granule.va_bits == 48 && top_shift < 48)
    unused = 8 * ((std::uint64_t{1} << (52 - top_shift)) - (std::uint64_t{1} << (48 - top_shift)));
  std::vector<KernelRoot> roots;
  for (const std::uint64_t at : {root, root + unused}) {
    auto made = make_root(image, at, granule, *symbol, "swapper_pg_dir of VMCOREINFO");
    if (made && (roots.empty() || at != root)) roots.push_back(std::move(*made));
  }
  return roots;
}

/// PHYS_OFFSET is where in guest memory the direct map's first address would be. It may lie outside
/// of memory: KASLR moves it.
std::string synthesise_vmcoreinfo(const FoundKernel& kernel, const Vmlinux& vmlinux,
                                  std::uint64_t offset) {
  const PagingMode& mode = kernel.tables.mode();
  const GuestVirtAddr in_image = kernel.content.banner_places.front();
  const GuestPhysAddr at = kernel.tables.translate(in_image).value_or(GuestPhysAddr{0});
  const std::uint64_t lower_half = mode.fixed_bits;
  const int va_bits = std::popcount(~lower_half);
  SynthesisedVmcoreinfo info(vmlinux, offset, kernel.facts.release,
                             std::uint64_t{1} << mode.levels.back().shift);
  info.add_symbol("init_uts_ns");
  info.add_symbol("swapper_pg_dir");
  info.add_symbol("_stext");
  info.add_number("VA_BITS", va_bits);
  info.add_hex_number("TCR_EL1_T1SZ", static_cast<std::uint64_t>(64 - va_bits));
  info.add_hex_number("kimage_voffset", in_image.value - at.value);
  if (const auto& page_offset = kernel.facts.page_offset) {
    const std::uint64_t upper_half = lower_half | std::uint64_t{1} << (va_bits - 1);
    const bool is_upper = page_offset->value + at.value >= upper_half;
    info.add_hex_number("PHYS_OFFSET", (is_upper ? upper_half : lower_half) - page_offset->value);
  }
  return std::move(info).finish();
}

}  // namespace

constinit const KernelArch kAarch64Kernel{.arch = Arch::aarch64,
                                          .roots_of_vcpus = roots_of_vcpus,
                                          .roots_of_vmcoreinfo = roots_of_vmcoreinfo,
                                          .synthesise_vmcoreinfo = synthesise_vmcoreinfo};

}  // namespace vmconvert
