#include <array>

#include "vmconvert/base/packed.h"
#include "vmconvert/kernel/kernel_arch.h"

namespace vmconvert {
namespace {

// Truth: z/Architecture Principles of Operation (ASCE, prefixing); Linux
// arch/s390/include/asm/lowcore.h.
constexpr std::uint64_t kProgramNewPsw = 0x1d0 + 8;  // address of the program check handler
constexpr GuestPhysAddr kVmcoreInfo{0xe0c};          // of the lowcore at 0, not of the prefix area
constexpr std::uint64_t kBefore = 64 << 20, kBehind = 192 << 20;
constexpr std::uint64_t kMegabyte = 1 << 20;
constexpr std::uint64_t kRootMask = ~std::uint64_t{0xfff};

std::optional<std::uint64_t> read_word(const GuestImage& image, GuestPhysAddr at) {
  std::array<std::byte, 8> bytes{};
  if (!read_guest(image, at, bytes)) return std::nullopt;
  return load<std::uint64_t>(bytes, std::endian::big);
}

KernelRoot make_root(GuestPhysAddr root, unsigned top_table, std::uint64_t in_image,
                     std::string origin) {
  const std::uint64_t begin = in_image - std::min(in_image, kBefore);
  return {.mode = s390x_paging(top_table),
          .root = root,
          .origin = std::move(origin),
          .image_window = VirtualRange::between({begin}, {in_image + kBehind}),
          .in_image = GuestVirtAddr{in_image},
          .image_alignment = 4096,
          .direct_map_windows = {VirtualRange::between({0}, {std::uint64_t{1} << 53})},
          .direct_map_alignment = kMegabyte};
}

bool is_address(std::uint64_t in_image) {
  return in_image != 0 && in_image < (std::uint64_t{1} << 53);
}

std::vector<KernelRoot> roots_of_vcpus(const GuestImage& image) {
  std::vector<KernelRoot> roots;
  for (std::size_t i = 0; i < image.vcpus.size(); ++i) {
    const auto* vcpu = std::get_if<S390xRegisters>(&image.vcpus[i]);
    if (vcpu == nullptr) continue;
    const auto handler = read_word(image, {vcpu->prefix + kProgramNewPsw});
    if (!handler || !is_address(*handler)) continue;
    for (const std::size_t cr : {13U, 1U}) {  // the home space is the kernel's; else what is in use
      const std::uint64_t asce = vcpu->crs[cr];
      constexpr std::uint64_t kRealSpace = 0x20;
      if ((asce & kRootMask) == 0 || (asce & kRealSpace) != 0) continue;
      roots.push_back(make_root({asce & kRootMask}, (asce >> 2) & 3, *handler,
                                "CR" + std::to_string(cr) + " of vCPU " + std::to_string(i)));
    }
  }
  return roots;
}

/// Since Linux 6.10 the kernel does not run at its physical address.
std::vector<KernelRoot> roots_of_vmcoreinfo(const GuestImage&, const Vmcoreinfo& info) {
  const auto symbol = info.symbol("swapper_pg_dir");
  const auto in_image = info.symbol("init_uts_ns");
  if (!symbol || !in_image || !is_address(*in_image)) return {};
  std::uint64_t moved = 0;
  if (const auto physical = info.hex_value("KERNELOFFPHYS"))
    moved = info.hex_value("KERNELOFFSET").value_or(0) - *physical;
  std::vector<KernelRoot> roots;
  for (const unsigned top_table : {1U, 2U, 0U, 3U}) {
    roots.push_back(make_root({(*symbol - moved) & kRootMask}, top_table, *in_image,
                              "swapper_pg_dir of VMCOREINFO"));
  }
  return roots;
}

std::optional<GuestPhysAddr> announced_vmcoreinfo(const GuestImage& image) {
  const auto at = read_word(image, kVmcoreInfo);
  if (!at || *at == 0) return std::nullopt;
  return GuestPhysAddr{*at};
}

}  // namespace

constinit const KernelArch kS390xKernel{.arch = Arch::s390x,
                                        .roots_of_vcpus = roots_of_vcpus,
                                        .roots_of_vmcoreinfo = roots_of_vmcoreinfo,
                                        .announced_vmcoreinfo = announced_vmcoreinfo};

}  // namespace vmconvert
