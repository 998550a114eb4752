#include <algorithm>

#include "vmconvert/kernel/kernel_arch.h"

namespace vmconvert {
namespace {

// Truth: Linux Documentation/arch/riscv/vm-layout.rst; satp: RISC-V privileged architecture.
constexpr std::uint64_t kBefore = 64 << 20, kBehind = 192 << 20;
constexpr GuestVirtAddr kImages{0xffffffff00000000};  // modules, BPF and the kernel's image
constexpr std::uint64_t kDirectMapAlignment = 2 << 20;

/// PAGE_OFFSET of the kernels that used this mode. Of several the highest first: what lies below
/// the direct map of an older kernel is within that of a newer one.
std::vector<std::uint64_t> page_offsets(unsigned va_bits) {
  if (va_bits == 39) return {0xffffffe000000000, 0xffffffd800000000, 0xffffffd600000000};
  return {va_bits == 48 ? 0xffffaf8000000000 : 0xff60000000000000};
}

std::optional<KernelRoot> make_root(const GuestImage& image, GuestPhysAddr root, unsigned va_bits,
                                    std::uint64_t in_image, std::string origin) {
  if (in_image < kBefore || in_image > UINT64_MAX - kBehind) return std::nullopt;
  PagingMode mode = riscv64_paging(va_bits);
  mode.order = image.byte_order;
  std::vector<VirtualRange> direct_maps;
  for (const std::uint64_t page_offset : page_offsets(va_bits))
    direct_maps.push_back(VirtualRange::between({page_offset}, kImages));
  return KernelRoot{
      .mode = std::move(mode),
      .root = root,
      .origin = std::move(origin),
      .image_window = VirtualRange::between({in_image - kBefore}, {in_image + kBehind}),
      .in_image = GuestVirtAddr{in_image},
      .image_alignment = 4096,
      .direct_map_windows = std::move(direct_maps),
      .direct_map_alignment = kDirectMapAlignment};
}

std::vector<KernelRoot> roots_of_vcpus(const GuestImage& image) {
  std::vector<KernelRoot> roots;
  for (std::size_t i = 0; i < image.vcpus.size(); ++i) {
    const auto* vcpu = std::get_if<Riscv64Registers>(&image.vcpus[i]);
    if (vcpu == nullptr) continue;
    const auto mode = vcpu->satp >> 60;
    if (mode < 8 || mode > 10) continue;
    const auto va_bits = static_cast<unsigned>(39 + 9 * (mode - 8));
    // The trap handler is in the image.
    auto root = make_root(image, {(vcpu->satp & 0xfffffffffff) << 12}, va_bits,
                          vcpu->stvec & ~std::uint64_t{3}, "satp of vCPU " + std::to_string(i));
    if (root) roots.push_back(std::move(*root));
  }
  return roots;
}

std::vector<KernelRoot> roots_of_vmcoreinfo(const GuestImage& image, const Vmcoreinfo& info) {
  const auto symbol = info.symbol("swapper_pg_dir");
  const auto offset = info.number("va_kernel_pa_offset");
  const auto va_bits = info.number("VA_BITS");
  if (!symbol || !offset || !va_bits || (*va_bits != 39 && *va_bits != 48 && *va_bits != 57))
    return {};
  auto root = make_root(image, {*symbol - static_cast<std::uint64_t>(*offset)},
                        static_cast<unsigned>(*va_bits), *symbol, "swapper_pg_dir of VMCOREINFO");
  if (!root) return {};
  return {std::move(*root)};
}

}  // namespace

constinit const KernelArch kRiscv64Kernel{.arch = Arch::riscv64,
                                          .roots_of_vcpus = roots_of_vcpus,
                                          .roots_of_vmcoreinfo = roots_of_vmcoreinfo};

}  // namespace vmconvert
