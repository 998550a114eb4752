#pragma once

#include <optional>
#include <string>

#include "support/page_table_builder.h"
#include "vmconvert/model/guest_image.h"

namespace vmconvert::test {

/// Memory of a Linux guest in little, of an architecture other than x86-64: page tables, a direct
/// map, an image of 4 MiB with a banner, VMCOREINFO on pages of their own. Written from the
/// processors' manuals and Linux's memory layouts.
class ForeignKernel {
 public:
  struct Layout {
    std::string name;
    Arch arch;
    std::endian order = std::endian::little;
    TableFormat format{};
    bool tables = true;      ///< false: ppc64 with a hash table, which Linux has elsewhere
    unsigned shift = 21;     ///< log2 of the pages that map it all
    std::uint64_t base = 0;  ///< where memory begins
    std::uint64_t image_gpa = 4 << 20;
    std::uint64_t image_gva = 0;
    std::uint64_t page_offset = 0;  ///< gva - gpa in the direct map
    std::string vmcoreinfo{};       ///< further lines
  };

  static constexpr std::uint64_t kSize = 16 << 20;
  static constexpr std::uint64_t kImageSize = 4 << 20;
  static constexpr std::string_view kRelease = "6.1.0-9-test";
  static constexpr std::string_view kBanner =
      "Linux version 6.1.0-9-test (me@here) (gcc) #1 SMP 2024";

  explicit ForeignKernel(Layout layout);
  ForeignKernel(const ForeignKernel&) = delete;
  ForeignKernel& operator=(const ForeignKernel&) = delete;

  const Layout& layout() const { return layout_; }
  PhysicalMemory& memory() { return memory_; }
  PageTableBuilder& tables() { return tables_; }
  std::uint64_t root() const { return layout_.image_gpa + kRootInImage; }
  std::uint64_t root_gva() const { return layout_.image_gva + kRootInImage; }
  /// A page in the upper half of memory that nothing else uses.
  std::uint64_t free_page(unsigned number = 0) const;
  /// The lines that a kernel of this layout writes.
  std::string vmcoreinfo() const;
  /// The text as an ELF note at `gpa`.
  void put_note(std::uint64_t gpa, std::string_view text);
  /// A variable in the image that points to `gpa` through the direct map.
  void point_to(std::uint64_t gpa);
  /// With a vCPU that runs this kernel.
  GuestImage image() const;
  GuestImage image_without_vcpus() const { return memory_.image(); }

 private:
  static constexpr std::uint64_t kRootInImage = 0x300000, kHandlerInImage = 0x28000;

  Layout layout_;
  PhysicalMemory memory_;
  PageTableBuilder tables_;
  std::uint64_t next_variable_;
};

ForeignKernel::Layout aarch64_kernel(unsigned page_shift = 12, unsigned va_bits = 48);
ForeignKernel::Layout riscv64_kernel(unsigned levels = 4);
/// The kernel at its physical address, as before Linux 6.10.
ForeignKernel::Layout s390x_kernel();
ForeignKernel::Layout moved_s390x_kernel();
ForeignKernel::Layout ppc64_kernel(unsigned page_shift, std::endian order);
ForeignKernel::Layout hash_ppc64_kernel();
ForeignKernel::Layout i386_kernel(bool pae);
/// One of each.
std::vector<ForeignKernel::Layout> foreign_kernels();

}  // namespace vmconvert::test
