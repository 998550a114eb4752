#include "support/foreign_kernel.h"

#include <cstdio>

namespace vmconvert::test {
namespace {

std::string bare_hex(std::uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "%llx", static_cast<unsigned long long>(value));
  return text;
}

}  // namespace

ForeignKernel::ForeignKernel(Layout layout)
    : layout_(std::move(layout)),
      memory_(layout_.arch, layout_.order, layout_.base, kSize),
      tables_(memory_, layout_.format, root()),
      next_variable_(layout_.image_gpa + 0x20000) {
  memory_.put(layout_.image_gpa + 0x30010, std::string(kBanner) + "\n");
  if (layout_.arch == Arch::s390x)  // the program check handler, in the lowcore
    memory_.put_number(0x1d8, layout_.image_gva + kHandlerInImage, 8, std::endian::big);
  if (layout_.arch ==
      Arch::i386) {  // an interrupt gate: the handler's halves around its attributes
    const std::uint64_t handler = layout_.image_gva + kHandlerInImage;
    memory_.put_number(layout_.image_gpa + 0x2f000,
                       (handler & 0xffff) | std::uint64_t{0x8e000060} << 16 | handler >> 16 << 48,
                       8, std::endian::little);
  }
  if (!layout_.tables) return;
  tables_.map_range(layout_.page_offset + layout_.base, layout_.base, kSize, layout_.shift);
  if (layout_.image_gva != layout_.page_offset + layout_.image_gpa)
    tables_.map_range(layout_.image_gva, layout_.image_gpa, kImageSize, layout_.shift);
}

std::uint64_t ForeignKernel::free_page(unsigned number) const {
  return layout_.base + 0xa00000 + 0x10000 * std::uint64_t{number};
}

std::string ForeignKernel::vmcoreinfo() const {
  const std::uint64_t page = std::uint64_t{1} << layout_.format.levels.back().shift;
  return "OSRELEASE=" + std::string(kRelease) + "\nPAGESIZE=" + std::to_string(page) +
         "\nSYMBOL(init_uts_ns)=" + bare_hex(layout_.image_gva + 0x31000) +
         "\nSYMBOL(_stext)=" + bare_hex(layout_.image_gva) +
         "\nSYMBOL(swapper_pg_dir)=" + bare_hex(root_gva()) + "\n" + layout_.vmcoreinfo;
}

void ForeignKernel::put_note(std::uint64_t gpa, std::string_view text) {
  memory_.put_number(gpa, 11, 4, layout_.order);
  memory_.put_number(gpa + 4, text.size(), 4, layout_.order);
  memory_.put_number(gpa + 8, 0, 4, layout_.order);
  memory_.put(gpa + 12, std::string_view("VMCOREINFO\0\0", 12));
  memory_.put(gpa + 24, text);
}

void ForeignKernel::point_to(std::uint64_t gpa) {
  const unsigned size = layout_.arch == Arch::i386 ? 4 : 8;
  memory_.put_number(next_variable_, layout_.page_offset + gpa, size, layout_.order);
  next_variable_ += 24;
}

GuestImage ForeignKernel::image() const {
  GuestImage image = memory_.image();
  const std::uint64_t handler = layout_.image_gva + kHandlerInImage;
  const auto levels = layout_.format.levels;
  if (layout_.arch == Arch::aarch64) {
    const unsigned va_bits = levels.front().shift + levels.front().bits;
    const std::uint64_t granule = levels.back().shift == 12 ? 2 : levels.back().shift == 14 ? 1 : 3;
    Aarch64Registers vcpu;
    vcpu.el1 = {.ttbr0 = 0x7000,
                .ttbr1 = root() | std::uint64_t{7} << 48,  // an ASID
                .tcr = granule << 30 | std::uint64_t{64 - va_bits} << 16 |
                       (va_bits == 52 && granule != 3 ? std::uint64_t{1} << 59 : 0),
                .sctlr = 0x30d0198d,
                .mair = 0,
                .vbar = handler};
    image.vcpus = {vcpu};
  } else if (layout_.arch == Arch::riscv64) {
    Riscv64Registers vcpu;
    vcpu.satp = std::uint64_t{levels.size() + 5} << 60 | std::uint64_t{5} << 44 | root() >> 12;
    vcpu.stvec = handler;
    image.vcpus = {vcpu};
  } else if (layout_.arch == Arch::s390x) {
    S390xRegisters vcpu;
    // Region-third and segment tables: 1 and 0 in bits 60-61, and the length.
    vcpu.crs[13] = root() | (levels.size() - 2) << 2 | 3;
    image.vcpus = {vcpu};
  } else if (layout_.arch == Arch::ppc64) {
    image.vcpus = {Ppc64Registers{}};
  } else {
    X86Registers vcpu;
    vcpu.long_mode = false;
    vcpu.cr0 = 0x80050033;
    vcpu.cr3 = root();
    vcpu.cr4 = levels.size() == 3 ? 0x6b0 : 0x690;
    vcpu.idt.base = layout_.image_gva + 0x2f000;
    image.vcpus = {vcpu};
  }
  return image;
}

ForeignKernel::Layout aarch64_kernel(unsigned page_shift, unsigned va_bits) {
  const std::uint64_t lowest = ~std::uint64_t{0} << va_bits;
  ForeignKernel::Layout layout{
      .name = "aarch64, page 2^" + std::to_string(page_shift) + ", " + std::to_string(va_bits) +
              " bits",
      .arch = Arch::aarch64,
      .format = aarch64_tables(page_shift, va_bits, va_bits == 52 && page_shift != 16),
      .shift = page_shift == 12 ? 21 : page_shift,
      .base = 0x40000000,
      .image_gpa = 0x40400000,
      // KASLR moves both: the image within the upper half, the direct map within the lower.
      .image_gva = lowest + (std::uint64_t{3} << (va_bits - 2)) + 0x16400000,
      .page_offset = lowest + 0x128000000 - 0x40000000,
      .vmcoreinfo = {}};
  layout.vmcoreinfo = "NUMBER(VA_BITS)=" + std::to_string(va_bits) + "\nNUMBER(kimage_voffset)=0x" +
                      bare_hex(layout.image_gva - layout.image_gpa) + "\nNUMBER(TCR_EL1_T1SZ)=0x" +
                      bare_hex(64 - va_bits) + "\nKERNELOFFSET=16400000\n";
  return layout;
}

ForeignKernel::Layout riscv64_kernel(unsigned levels) {
  const std::uint64_t direct_map = levels == 3   ? 0xffffffd600000000
                                   : levels == 4 ? 0xffffaf8000000000
                                                 : 0xff60000000000000;
  return {.name = "riscv64, " + std::to_string(levels) + " levels",
          .arch = Arch::riscv64,
          .format = riscv64_tables(levels),
          .base = 0x80000000,
          .image_gpa = 0x80200000,
          .image_gva = 0xffffffff80000000,
          .page_offset = direct_map - 0x80000000,
          .vmcoreinfo = "NUMBER(VA_BITS)=" + std::to_string(12 + 9 * levels) +
                        "\nNUMBER(va_kernel_pa_offset)=0xfffffffeffe00000\nKERNELOFFSET=0\n"};
}

ForeignKernel::Layout s390x_kernel() {
  return {.name = "s390x",
          .arch = Arch::s390x,
          .order = std::endian::big,
          .format = s390x_tables(1),
          .shift = 20,
          .image_gva = 4 << 20,
          .vmcoreinfo = "KERNELOFFSET=0\n"};
}

ForeignKernel::Layout moved_s390x_kernel() {
  ForeignKernel::Layout layout = s390x_kernel();
  layout.name = "s390x, moved";
  layout.image_gva = 0x3fffe900000;
  layout.vmcoreinfo = "KERNELOFFSET=3fffe800000\nKERNELOFFPHYS=300000\nIDENTITYBASE=0\n";
  return layout;
}

ForeignKernel::Layout ppc64_kernel(unsigned page_shift, std::endian order) {
  return {.name = order == std::endian::big ? "ppc64" : "ppc64le",
          .arch = Arch::ppc64,
          .order = order,
          .format = ppc64_tables(page_shift),
          .image_gpa = 0,
          .image_gva = 0xc000000000000000,
          .page_offset = 0xc000000000000000,
          .vmcoreinfo = "KERNELOFFSET=0\n"};
}

ForeignKernel::Layout hash_ppc64_kernel() {
  ForeignKernel::Layout layout = ppc64_kernel(16, std::endian::little);
  layout.name = "ppc64le, hash table";
  layout.tables = false;
  return layout;
}

ForeignKernel::Layout i386_kernel(bool pae) {
  return {.name = pae ? "i386, PAE" : "i386",
          .arch = Arch::i386,
          .format = pae ? pae_tables() : i386_tables(),
          .shift = pae ? 21U : 22U,
          .image_gva = 0xc0400000,
          .page_offset = 0xc0000000,
          .vmcoreinfo = pae ? "CONFIG_X86_PAE=y\n" : ""};
}

std::vector<ForeignKernel::Layout> foreign_kernels() {
  return {aarch64_kernel(),
          aarch64_kernel(12, 39),
          aarch64_kernel(12, 52),
          aarch64_kernel(14, 47),
          aarch64_kernel(14, 52),
          aarch64_kernel(16, 42),
          aarch64_kernel(16, 52),
          riscv64_kernel(3),
          riscv64_kernel(4),
          riscv64_kernel(5),
          s390x_kernel(),
          moved_s390x_kernel(),
          ppc64_kernel(12, std::endian::little),
          ppc64_kernel(16, std::endian::little),
          ppc64_kernel(16, std::endian::big),
          hash_ppc64_kernel(),
          i386_kernel(true),
          i386_kernel(false)};
}

}  // namespace vmconvert::test
