#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "support/byte_writer.h"
#include "vmconvert/model/guest_image.h"

namespace vmconvert::test {

/// Memory of an x86-64 Linux guest in little: page tables, a direct map, an image with a banner,
/// and VMCOREINFO on pages of their own. Written from the processor manual and Linux's memory
/// layout.
class KernelMemory {
 public:
  struct Layout {
    unsigned levels = 4;
    std::uint64_t image_gpa = 4 << 20;               ///< on a 2 MiB border
    std::uint64_t image_gva = 0xffffffff8d400000;    ///< on a 2 MiB border
    std::uint64_t page_offset = 0xffff91c0c0000000;  ///< on a 1 GiB border
    std::uint64_t encryption_bit = 0;                ///< set in every entry
    std::string_view banner = "Linux version 6.1.0-9-test (me@here) (gcc) #1 SMP PREEMPT 2024\n";
  };

  static constexpr std::uint64_t kSize = 16 << 20;
  static constexpr std::uint64_t kImageSize = 4 << 20;
  static constexpr std::uint64_t kRootInImage = 0x10000;  ///< where init_top_pgt is

  /// Maps the image by 2 MiB pages, and all of memory at page_offset but for its first 2 MiB, which
  /// are mapped by pages of 4 KiB.
  explicit KernelMemory(const Layout& layout);

  std::uint64_t root() const { return layout_.image_gpa + kRootInImage; }
  void put(std::uint64_t gpa, std::string_view bytes);
  void put_u64(std::uint64_t gpa, std::uint64_t value);
  /// The text as an ELF note at `gpa`.
  void put_note(std::uint64_t gpa, std::string_view text);
  /// A variable in the image that points to `gpa` through the direct map.
  void point_to(std::uint64_t gpa);
  void map(std::uint64_t root, std::uint64_t gva, std::uint64_t gpa, bool large);
  /// The lines that a kernel of this layout writes.
  std::string vmcoreinfo() const;

  /// All of memory.
  const Bytes& bytes() const { return memory_; }
  /// With one vCPU in 64-bit mode for each CR3.
  GuestImage image(const std::vector<std::uint64_t>& cr3) const;

 private:
  std::uint64_t new_table();

  Layout layout_;
  Bytes memory_;
  std::uint64_t next_table_ = 0x100000;
  std::uint64_t next_variable_;
};

}  // namespace vmconvert::test
