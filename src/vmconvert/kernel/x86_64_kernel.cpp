#include <algorithm>

#include "vmconvert/kernel/kernel_arch.h"
#include "vmconvert/kernel/synthesised_vmcoreinfo.h"
#include "vmconvert/kernel/x86_vcpus.h"
#include "vmconvert/model/xen_resolve.h"

namespace vmconvert {
namespace {

// Truth: Linux Documentation/arch/x86/x86_64/mm.rst and arch/x86/include/asm/page_64_types.h.
constexpr GuestVirtAddr kStartKernelMap{0xffffffff80000000};  // __START_KERNEL_map
constexpr std::uint64_t kImageWindow = std::uint64_t{1} << 30;
constexpr std::uint64_t kDefaultStart = 16 << 20;  // CONFIG_PHYSICAL_START
constexpr std::uint64_t kPageSize = 4096;
constexpr std::uint64_t kImageAlignment = 2 << 20;
constexpr std::uint64_t kDirectMapAlignment = std::uint64_t{1} << 30;  // of KASLR: one PUD
constexpr std::uint64_t kFrameMask = 0x000ffffffffff000;
constexpr std::uint64_t kUserHalf = 0x1000;  // KPTI: CR3 of the pair that user mode runs on
constexpr std::uint64_t kCr4FiveLevels = 1 << 12;
// Of a PV guest of Xen without registers: most of its L4s map the kernel.
constexpr std::size_t kMostRoots = 4;
// SEV's C-bit is told by CPUID, which is not saved; these are the places there are.
constexpr std::uint64_t kEncryptionMasks[] = {0, std::uint64_t{1} << 51, std::uint64_t{1} << 47};

KernelRoot make_root(GuestPhysAddr root, bool five_levels, std::uint64_t encryption_mask,
                     std::string origin) {
  PagingMode mode = x86_64_paging(five_levels);
  mode.address_mask &= ~encryption_mask;
  const auto direct_map = five_levels
                              ? VirtualRange::between({0xff11000000000000}, {0xff91000000000000})
                              : VirtualRange::between({0xffff880000000000}, {0xffffc88000000000});
  return {.mode = std::move(mode),
          .root = root,
          .origin = std::move(origin),
          .image_window = VirtualRange::sized(kStartKernelMap, kImageWindow),
          .in_image = {},
          .image_alignment = kImageAlignment,
          .direct_map_windows = {direct_map},
          .direct_map_alignment = kDirectMapAlignment};
}

/// Of a pair of KPTI the kernel's half first, whichever the vCPU ran on.
std::vector<KernelRoot> roots_of_vcpus(const GuestImage& image) {
  std::vector<KernelRoot> roots;
  const auto add = [&](KernelRoot root) {
    const bool known = std::any_of(roots.begin(), roots.end(), [&](const KernelRoot& r) {
      return r.root == root.root && r.mode.address_mask == root.mode.address_mask;
    });
    if (!known) roots.push_back(std::move(root));
  };
  for (const X86Paging& vcpu : x86_vcpus(image)) {
    const bool five_levels = (vcpu.cr4 & kCr4FiveLevels) != 0;
    for (const std::uint64_t mask : kEncryptionMasks) {
      if (mask != 0 && (vcpu.cr3 & mask) == 0) continue;
      const std::uint64_t cr3 = vcpu.cr3 & kFrameMask & ~mask;
      add(make_root({cr3 & ~kUserHalf}, five_levels, mask, vcpu.origin));
      if ((cr3 & kUserHalf) != 0) add(make_root({cr3}, five_levels, mask, vcpu.origin));
    }
  }
  if (image.vcpus.empty() && image.xen && image.xen->translation) {
    for (const XenTranslation::Table& table : image.xen->translation->tables) {
      if (table.kind == XenTableKind::l4 && roots.size() < kMostRoots)
        add(make_root({table.pfn.value * kPageSize}, false, 0, "page tables of a Xen PV guest"));
    }
  }
  return roots;
}

std::vector<KernelRoot> roots_of_vmcoreinfo(const GuestImage&, const Vmcoreinfo& info) {
  const auto phys_base = info.number("phys_base");
  auto symbol = info.symbol("swapper_pg_dir");
  if (!symbol) symbol = info.symbol("init_top_pgt");
  if (!symbol) symbol = info.symbol("init_level4_pgt");
  if (!phys_base || !symbol || *symbol < kStartKernelMap.value) return {};
  const std::uint64_t root =
      *symbol - kStartKernelMap.value + static_cast<std::uint64_t>(*phys_base);
  return {make_root({root & kFrameMask}, info.number("pgtable_l5_enabled").value_or(0) != 0,
                    static_cast<std::uint64_t>(info.number("sme_mask").value_or(0)),
                    "swapper_pg_dir of VMCOREINFO")};
}

std::vector<KernelRoot> roots_of_vmlinux(const Vmlinux& vmlinux, GuestPhysAddr banner) {
  const auto banner_symbol = first_symbol(vmlinux, {"linux_banner"});
  const auto table = first_symbol(vmlinux, {"init_top_pgt", "init_level4_pgt"});
  if (!banner_symbol || !table) return {};
  const GuestPhysAddr root{(banner.value + (*table - *banner_symbol)) & kFrameMask};
  const std::string origin = "init_top_pgt of " + vmlinux.file;
  return {make_root(root, false, 0, origin), make_root(root, true, 0, origin)};
}

void complete(KernelFacts& facts, const PageTables&, const std::string& origin) {
  const KernelMapping& image = facts.image.front();
  const std::uint64_t inside = image.at - kStartKernelMap;
  facts.phys_base = {static_cast<std::int64_t>(image.guest.begin().value - inside), origin};
  if (inside >= kDefaultStart)  // else it was built for another place
    facts.kaslr_offset = {inside - kDefaultStart,
                          origin + ", with the default CONFIG_PHYSICAL_START"};
}

std::string synthesise_vmcoreinfo(const FoundKernel& kernel, const Vmlinux& vmlinux,
                                  std::uint64_t offset) {
  SynthesisedVmcoreinfo info(vmlinux, offset, kernel.facts.release, kPageSize);
  info.add_symbol("init_uts_ns");
  info.add_symbol("swapper_pg_dir", {"init_top_pgt", "init_level4_pgt"});
  info.add_symbol("init_top_pgt");
  info.add_symbol("init_level4_pgt");
  info.add_symbol("_stext");
  info.add_number("phys_base", kernel.facts.phys_base->value);
  info.add_number("pgtable_l5_enabled", kernel.tables.mode().levels.size() == 5 ? 1 : 0);
  return std::move(info).finish();
}

}  // namespace

constinit const KernelArch kX86_64Kernel{.arch = Arch::x86_64,
                                         .roots_of_vcpus = roots_of_vcpus,
                                         .roots_of_vmcoreinfo = roots_of_vmcoreinfo,
                                         .roots_of_vmlinux = roots_of_vmlinux,
                                         .complete = complete,
                                         .given_back = kX86GivenBack,
                                         .synthesise_vmcoreinfo = synthesise_vmcoreinfo};

}  // namespace vmconvert
