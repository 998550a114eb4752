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

std::optional<KernelRoot> make_root(const GuestImage& image, GuestPhysAddr root,
                                    unsigned page_shift, std::uint64_t va_bits,
                                    std::uint64_t in_image, std::string origin) {
  if (va_bits < 36 || va_bits > 52 || page_shift < 12 || in_image < kBefore ||
      in_image > UINT64_MAX - kBehind)
    return std::nullopt;
  PagingMode mode = aarch64_paging(page_shift, static_cast<unsigned>(va_bits));
  mode.order = image.byte_order;
  const GuestVirtAddr page_offset{-(std::uint64_t{1} << va_bits)};
  const GuestVirtAddr page_end{-(std::uint64_t{1} << (va_bits - 1))};
  return KernelRoot{
      .mode = std::move(mode),
      .root = root,
      .origin = std::move(origin),
      .image_window = VirtualRange::between({in_image - kBefore}, {in_image + kBehind}),
      .in_image = GuestVirtAddr{in_image},
      .image_alignment = 4096,
      // Since 5.4 the direct map is the lower half; before, the upper.
      .direct_map_windows = {VirtualRange::between(page_offset, page_end),
                             VirtualRange::between(page_end, {UINT64_MAX - 0xffffffff})},
      .direct_map_alignment = kDirectMapAlignment};
}

/// TCR_EL1.TG1. @returns 0 if it is reserved
unsigned page_shift_of(std::uint64_t tcr) {
  constexpr unsigned kShifts[] = {0, 14, 12, 16};
  return kShifts[(tcr >> 30) & 3];
}

std::vector<KernelRoot> roots_of_vcpus(const GuestImage& image) {
  std::vector<KernelRoot> roots;
  for (std::size_t i = 0; i < image.vcpus.size(); ++i) {
    const auto* vcpu = std::get_if<Aarch64Registers>(&image.vcpus[i]);
    if (vcpu == nullptr || !vcpu->el1 || (vcpu->el1->sctlr & kSctlrMmu) == 0) continue;
    const auto& el1 = *vcpu->el1;
    // The exception vectors are in the image.
    auto root = make_root(image, {el1.ttbr1 & kTableMask}, page_shift_of(el1.tcr),
                          64 - ((el1.tcr >> 16) & 0x3f), el1.vbar,
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
  const auto va_bits = info.number("VA_BITS");
  const auto page_size = info.value("PAGESIZE");
  if (!symbol || !voffset || !va_bits || !page_size) return {};
  const unsigned page_shift = *page_size == "4096" ? 12 : *page_size == "16384" ? 14 : 16;
  const auto t1sz = info.number("TCR_EL1_T1SZ");
  auto root = make_root(image, {*symbol - static_cast<std::uint64_t>(*voffset)}, page_shift,
                        static_cast<std::uint64_t>(t1sz ? 64 - *t1sz : *va_bits), *symbol,
                        "swapper_pg_dir of VMCOREINFO");
  if (!root) return {};
  return {std::move(*root)};
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
