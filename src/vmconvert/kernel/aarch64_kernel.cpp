#include <algorithm>
#include <bit>

#include "vmconvert/kernel/kernel_arch.h"

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

}  // namespace

constinit const KernelArch kAarch64Kernel{.arch = Arch::aarch64,
                                          .roots_of_vcpus = roots_of_vcpus,
                                          .roots_of_vmcoreinfo = roots_of_vmcoreinfo,
                                          .roots_of_vmlinux = nullptr,
                                          .announced_vmcoreinfo = nullptr,
                                          .complete = nullptr,
                                          .synthesise_vmcoreinfo = nullptr};

}  // namespace vmconvert
