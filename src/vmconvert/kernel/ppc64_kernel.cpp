#include "vmconvert/kernel/kernel_arch.h"

namespace vmconvert {
namespace {

// Truth: Linux arch/powerpc/include/asm/page.h: KERNELBASE and PAGE_OFFSET of 64-bit kernels. The
// kernel runs in its direct map, whether hash or radix tables implement it.
constexpr std::uint64_t kPageOffset = 0xc000000000000000;
constexpr std::uint64_t kImage = 96 << 20;

KernelRoot make_root(const GuestImage& image, std::string origin) {
  PagingMode mode = linear_mapping(kPageOffset);
  mode.order = image.byte_order;
  const auto window = VirtualRange::sized({kPageOffset}, kImage);
  return {.mode = std::move(mode),
          .root = {0},
          .origin = std::move(origin),
          .image_window = window,
          .in_image = {},
          .image_alignment = 1,
          .direct_map_windows = {window},
          .direct_map_alignment = 1};
}

std::vector<KernelRoot> roots_of_vcpus(const GuestImage& image) {
  return {make_root(image, "the architecture's linear mapping")};
}

std::vector<KernelRoot> roots_of_vmcoreinfo(const GuestImage& image, const Vmcoreinfo&) {
  return roots_of_vcpus(image);
}

}  // namespace

constinit const KernelArch kPpc64Kernel{.arch = Arch::ppc64,
                                        .roots_of_vcpus = roots_of_vcpus,
                                        .roots_of_vmcoreinfo = roots_of_vmcoreinfo,
                                        .roots_of_vmlinux = nullptr,
                                        .announced_vmcoreinfo = nullptr,
                                        .complete = nullptr,
                                        .synthesise_vmcoreinfo = nullptr};

}  // namespace vmconvert
