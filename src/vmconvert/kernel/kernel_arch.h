#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vmconvert/kernel/found_kernel.h"
#include "vmconvert/kernel/given_back.h"
#include "vmconvert/kernel/page_tables.h"
#include "vmconvert/kernel/vmlinux.h"
#include "vmconvert/model/guest_image.h"

namespace vmconvert {

/// Page tables that may be a running kernel's, and where such a kernel would lie in them.
struct KernelRoot {
  PagingMode mode;
  GuestPhysAddr root;
  std::string origin;         ///< for people: "CR3 of vCPU 0"
  VirtualRange image_window;  ///< the image lies in here
  /// An address within the image; nothing: the image is what is mapped lowest in the window.
  std::optional<GuestVirtAddr> in_image;
  std::uint64_t image_alignment = 1;  ///< of the lowest mapping of the image
  std::vector<VirtualRange> direct_map_windows;
  std::uint64_t direct_map_alignment = 1;  ///< of gva - gpa
  /// No tables prove it: what does is a VMCOREINFO that the image points to.
  bool needs_note = false;
  /// The direct map, in which the kernel runs, ends somewhere: what is not in it is no reason to
  /// doubt it.
  bool high_memory = false;
};

/// What differs between architectures in finding a Linux kernel.
struct KernelArch {
  Arch arch;
  /// What the vCPUs' registers lead to, the best first.
  std::vector<KernelRoot> (*roots_of_vcpus)(const GuestImage& image);
  /// What a VMCOREINFO, which may be wrong, says; the best first.
  std::vector<KernelRoot> (*roots_of_vmcoreinfo)(const GuestImage& image, const Vmcoreinfo& info);
  /// Roots for a kernel whose linux_banner lies at `banner`; nullptr: not supported.
  std::vector<KernelRoot> (*roots_of_vmlinux)(const Vmlinux& vmlinux,
                                              GuestPhysAddr banner) = nullptr;
  /// Where the kernel itself says that its VMCOREINFO is; nullptr: the architecture has no such
  /// place.
  std::optional<GuestPhysAddr> (*announced_vmcoreinfo)(const GuestImage& image) = nullptr;
  /// Adds what follows from where the image lies: phys_base, KASLR offset, the end of the direct
  /// map; nullptr: nothing.
  void (*complete)(KernelFacts& facts, const PageTables& tables,
                   const std::string& origin) = nullptr;
  GivenBack given_back = kInitGivenBack;
  /// VMCOREINFO made from the symbols of the kernel's own file; nullptr: not supported.
  /// @param offset  offset_in_guest()
  std::string (*synthesise_vmcoreinfo)(const FoundKernel& kernel, const Vmlinux& vmlinux,
                                       std::uint64_t offset) = nullptr;
};

extern const KernelArch kX86_64Kernel;
extern const KernelArch kI386Kernel;
extern const KernelArch kAarch64Kernel;
extern const KernelArch kRiscv64Kernel;
extern const KernelArch kS390xKernel;
extern const KernelArch kPpc64Kernel;

/// nullptr if there is none for this architecture.
const KernelArch* find_kernel_arch(Arch arch);

/// The kernel that these page tables map, if they do: its image, the direct map, the banner.
std::optional<FoundKernel> try_root(const GuestImage& image, const KernelArch& arch,
                                    const KernelRoot& root);

/// How far the kernel's symbols in the guest lie above those of its file: where the banner stands,
/// and the first byte of its code is mapped. Nothing if the file is not that of this kernel.
std::optional<std::uint64_t> offset_in_guest(const FoundKernel& kernel, const Vmlinux& vmlinux);

/// The value of the first of these symbols that the kernel's file has.
std::optional<std::uint64_t> first_symbol(const Vmlinux& vmlinux,
                                          std::initializer_list<std::string_view> names);

}  // namespace vmconvert
