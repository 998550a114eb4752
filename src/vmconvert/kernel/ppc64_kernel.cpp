#include "vmconvert/kernel/kernel_arch.h"
#include "vmconvert/kernel/kernel_image.h"

namespace vmconvert {
namespace {

// Truth: Linux arch/powerpc/include/asm/page.h: KERNELBASE and PAGE_OFFSET of 64-bit kernels. The
// kernel runs in its direct map, whether a hash table or radix tables implement it.
constexpr std::uint64_t kPageOffset = 0xc000000000000000;
constexpr std::uint64_t kImage = 96 << 20;
constexpr std::uint64_t kTableAlignment = 4096;

KernelRoot make_root(PagingMode mode, std::uint64_t root, std::string origin) {
  const bool is_linear = mode.linear.has_value();
  const auto window = VirtualRange::sized({kPageOffset}, kImage);
  return {.mode = std::move(mode),
          .root = {root},
          .origin = std::move(origin),
          .image_window = window,
          .in_image = {},
          .image_alignment = 1,
          .direct_map_windows = {window},
          .direct_map_alignment = 1,
          .needs_note = is_linear};
}

/// Radix tables, if there are any at swapper_pg_dir; else that the mapping is linear has to be
/// taken from the architecture: of a hash table it cannot be told by walking it from the kernel's
/// own.
std::vector<KernelRoot> roots_of_vmcoreinfo(const GuestImage&, const Vmcoreinfo& info) {
  const auto symbol = info.symbol("swapper_pg_dir");
  if (!symbol || *symbol < kPageOffset || *symbol % kTableAlignment != 0) return {};
  const unsigned page_shift = info.value("PAGESIZE") == "65536" ? 16 : 12;
  return {make_root(ppc64_radix_paging(page_shift), *symbol - kPageOffset,
                    "swapper_pg_dir of VMCOREINFO"),
          make_root(linear_mapping(kPageOffset), 0, "the architecture's linear mapping")};
}

/// No register leads to the tables. But a kernel that runs has a VMCOREINFO that its image points
/// to, by pointers that it set when it had come to its place.
std::vector<KernelRoot> roots_of_vcpus(const GuestImage& image) {
  const std::vector<Mapping> window{{VirtualRange::sized({kPageOffset}, kImage), {0}}};
  std::vector<KernelRoot> roots;
  for (const Vmcoreinfo& note : search_kernel_image(image, window, kPageOffset).notes) {
    for (KernelRoot& root : roots_of_vmcoreinfo(image, note)) roots.push_back(std::move(root));
  }
  return roots;
}

}  // namespace

constinit const KernelArch kPpc64Kernel{.arch = Arch::ppc64,
                                        .roots_of_vcpus = roots_of_vcpus,
                                        .roots_of_vmcoreinfo = roots_of_vmcoreinfo};

}  // namespace vmconvert
