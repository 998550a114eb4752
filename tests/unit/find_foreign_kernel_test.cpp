#include <algorithm>
#include <random>

#include "support/collecting_diagnostics.h"
#include "support/foreign_kernel.h"
#include "support/kernel_memory.h"
#include "support/test.h"
#include "vmconvert/kernel/find_kernel.h"
#include "vmconvert/kernel/kernel_arch.h"

namespace vmconvert::test {
namespace {

struct Result {
  GuestImage image;
  std::optional<FoundKernel> kernel;
  CollectingDiagnostics diagnostics;

  explicit Result(GuestImage from, const KernelOptions& options = {}) : image(std::move(from)) {
    kernel = find_kernel(image, options, diagnostics);
  }
};

bool runs_in_direct_map(const ForeignKernel::Layout& layout) {
  return layout.image_gva == layout.page_offset + layout.image_gpa;
}

void check_facts(const GuestImage& image, const ForeignKernel::Layout& layout) {
  const KernelFacts& facts = image.kernel;
  CHECK(facts.release == ForeignKernel::kRelease);
  CHECK(facts.banner == ForeignKernel::kBanner);
  REQUIRE(facts.page_offset.has_value());
  CHECK(facts.page_offset->value == layout.page_offset);
  if (runs_in_direct_map(layout)) {
    CHECK(facts.image.empty());
    return;
  }
  REQUIRE(facts.image.size() == 1);
  CHECK(facts.image[0].guest == GuestRange::sized({layout.image_gpa}, ForeignKernel::kImageSize));
  CHECK(facts.image[0].at == GuestVirtAddr{layout.image_gva});
}

TEST_CASE("kernel: of every architecture a vCPU leads to it, its image to VMCOREINFO") {
  for (const ForeignKernel::Layout& layout : foreign_kernels()) {
    CAPTURE(layout.name);
    ForeignKernel kernel(layout);
    kernel.put_note(kernel.free_page(), kernel.vmcoreinfo());
    kernel.point_to(kernel.free_page());
    const Result result(kernel.image());
    REQUIRE(result.kernel.has_value());
    check_facts(result.image, layout);
    REQUIRE(result.image.vmcoreinfo.has_value());
    CHECK(result.image.vmcoreinfo->text == kernel.vmcoreinfo());
    CHECK(result.image.vmcoreinfo->origin.ends_with("which the kernel's image points to"));
  }
}

TEST_CASE("kernel: of every architecture VMCOREINFO leads to it without registers") {
  for (const ForeignKernel::Layout& layout : foreign_kernels()) {
    CAPTURE(layout.name);
    ForeignKernel kernel(layout);
    kernel.put_note(kernel.free_page(), kernel.vmcoreinfo());
    if (layout.arch == Arch::ppc64) kernel.point_to(kernel.free_page());
    const Result result(kernel.image_without_vcpus());
    REQUIRE(result.kernel.has_value());
    check_facts(result.image, layout);
    CHECK(result.image.vmcoreinfo->text == kernel.vmcoreinfo());
  }
}

TEST_CASE("kernel: of every architecture a note of an earlier boot is not used") {
  for (const ForeignKernel::Layout& layout : foreign_kernels()) {
    if (runs_in_direct_map(layout)) continue;  // an earlier one has lain at the same place
    CAPTURE(layout.name);
    ForeignKernel kernel(layout);
    ForeignKernel::Layout other = layout;
    other.image_gva -= 0x2000000;
    kernel.put_note(kernel.free_page(), ForeignKernel(other).vmcoreinfo());
    kernel.point_to(kernel.free_page());
    const Result with_vcpu(kernel.image());
    REQUIRE(with_vcpu.kernel.has_value());
    CHECK(!with_vcpu.image.vmcoreinfo.has_value());
    // What names the tables by how far the image was moved finds those of the running kernel; but
    // it does not say where its code is.
    const Result without_vcpu(kernel.image_without_vcpus());
    if (without_vcpu.kernel) check_facts(without_vcpu.image, layout);
  }
}

TEST_CASE("kernel: a direct map that does not agree with memory gives no address") {
  for (const ForeignKernel::Layout& layout : foreign_kernels()) {
    if (!layout.tables || layout.arch == Arch::i386) continue;
    CAPTURE(layout.name);
    ForeignKernel kernel(layout);
    kernel.put_note(kernel.free_page(), kernel.vmcoreinfo());
    const std::uint64_t last = kernel.memory().end() - (std::uint64_t{1} << layout.shift);
    kernel.tables().map(layout.page_offset + last, layout.base, layout.shift);
    Result result(kernel.image());
    CHECK(!result.image.kernel.page_offset.has_value());
    if (!runs_in_direct_map(layout)) CHECK(result.image.kernel.image.size() == 1);
  }
}

TEST_CASE("kernel: of i386 low memory is in the direct map, high memory is not") {
  for (const bool pae : {true, false}) {
    for (const std::uint64_t page_offset : {0xc0000000U, 0x80000000U}) {
      ForeignKernel::Layout layout = i386_kernel(pae);
      layout.page_offset = page_offset;
      layout.image_gva = page_offset + layout.image_gpa;
      ForeignKernel kernel(layout);
      // The last 4 MiB are high memory; what vmalloc maps behind low memory lies as it happens.
      kernel.tables().put_entry(page_offset + 0xc00000, pae ? 1 : 0, 0);
      if (pae) kernel.tables().put_entry(page_offset + 0xe00000, 1, 0);
      kernel.tables().map(page_offset + 0x1800000, 0x400000, layout.shift);
      const Result result(kernel.image());
      REQUIRE(result.kernel.has_value());
      CHECK(result.image.kernel.page_offset->value == page_offset);
      CHECK(result.image.kernel.direct_map_end == GuestPhysAddr{0xc00000});
    }
  }
}

TEST_CASE("kernel: an i386 vCPU in user mode under KPTI leads to the kernel's half of the tables") {
  ForeignKernel::Layout layout = i386_kernel(true);
  layout.format.table_alignment = 0x2000;
  ForeignKernel kernel(layout);
  // The user's half, a page further, maps little but the IDT.
  const std::uint64_t user_half = kernel.root() + 0x1000, directory = kernel.free_page();
  kernel.memory().put_number(user_half + 24, directory | 1, 8, std::endian::little);
  kernel.memory().put_number(directory + 16, 0x4000e3, 8, std::endian::little);
  GuestImage image = kernel.image();
  std::get<X86Registers>(image.vcpus[0]).cr3 = user_half;
  const Result result(std::move(image));
  REQUIRE(result.kernel.has_value());
  CHECK(result.image.kernel.page_tables->value == GuestPhysAddr{kernel.root()});
  check_facts(result.image, layout);
}

TEST_CASE("kernel: aarch64 before 5.4 has its direct map in the upper half") {
  ForeignKernel::Layout layout = aarch64_kernel();
  layout.image_gva = 0xffff000008400000;
  layout.page_offset = 0xffff800000000000 - 0x40000000;
  layout.vmcoreinfo = "NUMBER(VA_BITS)=48\nNUMBER(kimage_voffset)=0xfffeffffc8000000\n";
  ForeignKernel kernel(layout);
  kernel.put_note(kernel.free_page(), kernel.vmcoreinfo());
  const Result with(kernel.image()), without(kernel.image_without_vcpus());
  check_facts(with.image, layout);
  check_facts(without.image, layout);
}

TEST_CASE("kernel: aarch64 in user mode under KPTI is found by its VMCOREINFO") {
  ForeignKernel kernel(aarch64_kernel());
  kernel.put_note(kernel.free_page(), kernel.vmcoreinfo());
  GuestImage image = kernel.image();
  auto& el1 = *std::get<Aarch64Registers>(image.vcpus[0]).el1;
  el1.ttbr1 = kernel.free_page(1);  // maps the vectors alone
  el1.vbar = 0xfffffbfffdbf7800;
  const Result result(std::move(image));
  REQUIRE(result.kernel.has_value());
  check_facts(result.image, kernel.layout());
  CHECK(result.image.kernel.page_tables->origin == "swapper_pg_dir of VMCOREINFO");
}

TEST_CASE("kernel: aarch64 for 52 bits on a processor that has 48 uses the end of its root table") {
  ForeignKernel::Layout layout = aarch64_kernel(16, 48);
  layout.vmcoreinfo = "NUMBER(VA_BITS)=52\nNUMBER(TCR_EL1_T1SZ)=0x10\nNUMBER(kimage_voffset)=0x" +
                      layout.vmcoreinfo.substr(layout.vmcoreinfo.find("0x") + 2);
  ForeignKernel kernel(layout);
  // 64 entries of 1024.
  std::string text = kernel.vmcoreinfo();
  char root[24];
  std::snprintf(root, sizeof root, "%llx",
                static_cast<unsigned long long>(kernel.root_gva() - 8 * (1024 - 64)));
  const std::size_t at = text.find("SYMBOL(swapper_pg_dir)=") + 23;
  text.replace(at, text.find('\n', at) - at, root);
  kernel.put_note(kernel.free_page(), text);
  const Result result(kernel.image_without_vcpus());
  REQUIRE(result.kernel.has_value());
  check_facts(result.image, layout);
}

TEST_CASE("kernel: riscv64 with the direct map of older kernels, vmalloc in front of it") {
  for (const std::uint64_t direct_map : {0xffffffe000000000, 0xffffffd800000000}) {
    ForeignKernel::Layout layout = riscv64_kernel(3);
    layout.page_offset = direct_map - layout.base;
    ForeignKernel kernel(layout);
    for (std::uint64_t i = 0; i < 40; ++i)
      kernel.tables().map(direct_map - 0x40000000 + (i << 22), layout.base + (i % 8 << 21), 21);
    const Result result(kernel.image());
    REQUIRE(result.kernel.has_value());
    check_facts(result.image, layout);
  }
}

TEST_CASE("kernel: s390x tells where VMCOREINFO is in its lowcore") {
  for (const auto& layout : {s390x_kernel(), moved_s390x_kernel()}) {
    ForeignKernel kernel(layout);
    kernel.put_note(kernel.free_page(), kernel.vmcoreinfo());
    kernel.memory().put_number(0xe0c, kernel.free_page(), 8, std::endian::big);
    const Result result(kernel.image());
    REQUIRE(result.image.vmcoreinfo.has_value());
    CHECK(result.image.vmcoreinfo->origin == "guest address 0xa00000, which the kernel announces");
    check_facts(result.image, kernel.layout());
  }
}

TEST_CASE("kernel: ppc64 without VMCOREINFO is not taken on trust") {
  for (const auto& layout : {ppc64_kernel(16, std::endian::little), hash_ppc64_kernel()}) {
    ForeignKernel kernel(layout);
    CHECK(!Result(kernel.image()).kernel.has_value());
  }
  // Nor is a note of an earlier boot, to which the image does not point.
  ForeignKernel kernel(hash_ppc64_kernel());
  kernel.memory().put(kernel.free_page(), kernel.vmcoreinfo());
  CHECK(!Result(kernel.image()).kernel.has_value());
}

TEST_CASE("kernel: an image in parts, with what is not of it in between and behind") {
  const ForeignKernel::Layout layout = aarch64_kernel();
  ForeignKernel kernel(layout);
  // A module has taken the place of the initialisation code, and another lies behind the image.
  kernel.tables().map(layout.image_gva + 0x200000, layout.base, 21);
  kernel.tables().map(layout.image_gva + 0x400000, layout.image_gpa + 0x400000, 21);
  kernel.tables().map(layout.image_gva + 0x6000000, layout.base + 0x800000, 21);
  const Result result(kernel.image());
  REQUIRE(result.kernel.has_value());
  const auto& parts = result.image.kernel.image;
  REQUIRE(parts.size() == 2);
  CHECK(parts[0].guest == GuestRange::sized({layout.image_gpa}, 2 << 20));
  CHECK(parts[0].at == GuestVirtAddr{layout.image_gva});
  CHECK(parts[1].guest == GuestRange::sized({layout.image_gpa + 0x400000}, 2 << 20));
  CHECK(parts[1].at == GuestVirtAddr{layout.image_gva + 0x400000});
}

TEST_CASE("kernel: of very many parts of an image the largest are told") {
  ForeignKernel::Layout layout = aarch64_kernel();
  layout.shift = 12;
  ForeignKernel kernel(layout);
  for (std::uint64_t page = 4; page < 1024; page += page < 512 ? 8 : 16)
    kernel.tables().put_entry(layout.image_gva + (page << 12), 3, 0);
  const Result result(kernel.image());
  REQUIRE(result.kernel.has_value());
  const auto& parts = result.image.kernel.image;
  REQUIRE(parts.size() == 32);
  CHECK(parts[0].guest == GuestRange::sized({layout.image_gpa + 0x205000}, 15 << 12));
  for (std::size_t i = 0; i < parts.size(); ++i) {
    CHECK(parts[i].at.value - parts[i].guest.begin().value == layout.image_gva - layout.image_gpa);
    if (i > 0) CHECK(parts[i - 1].guest.end() < parts[i].guest.begin());
  }
}

TEST_CASE("kernel: the notes of QEMU's dump lead to the page tables of x86") {
  const auto note = [](std::uint64_t cr3, std::uint64_t cr4, std::uint64_t idt) {
    ByteWriter desc;
    desc.le32(1).le32(440).fill(384 - 8).le64(idt);
    desc.le64(0x80050033).le64(0).le64(0).le64(cr3).le64(cr4).le64(0);
    return Note{"QEMU", 0, desc.bytes()};
  };
  const KernelMemory memory({});
  GuestImage image = memory.image({});
  image.notes = {Note{"CORE", 1, Bytes(336)}, note(0x3000, 0xf0, 0), note(memory.root(), 0xf0, 0)};
  CHECK(Result(image).image.kernel.page_tables->origin == "CR3 of QEMU note 1");
  image.notes = {Note{"QEMU", 0, Bytes(431)}, Note{"QEMU", 0, Bytes(440)}};
  CHECK(!Result(image).kernel.has_value());

  const ForeignKernel kernel(i386_kernel(true));
  image = kernel.image_without_vcpus();
  image.notes = {note(kernel.root(), 0x6b0, 0xc042f000)};
  const Result result(std::move(image));
  REQUIRE(result.kernel.has_value());
  check_facts(result.image, kernel.layout());
}

TEST_CASE("kernel: VMCOREINFO with any address for its tables is no harm") {
  const std::uint64_t values[] = {0, 0xffff, UINT64_MAX, 0xc000000000000000};
  for (const ForeignKernel::Layout& layout : foreign_kernels()) {
    CAPTURE(layout.name);
    for (const std::uint64_t value : values) {
      char lines[600];
      const auto v = static_cast<unsigned long long>(value);
      std::snprintf(lines, sizeof lines,
                    "OSRELEASE=6.1.0-9-test\nPAGESIZE=4096\nSYMBOL(init_uts_ns)=%llx\n"
                    "SYMBOL(_stext)=%llx\nSYMBOL(swapper_pg_dir)=%llx\nNUMBER(VA_BITS)=%lld\n"
                    "NUMBER(kimage_voffset)=0x%llx\nNUMBER(TCR_EL1_T1SZ)=0x%llx\n"
                    "NUMBER(va_kernel_pa_offset)=0x%llx\nKERNELOFFSET=%llx\nKERNELOFFPHYS=%llx\n",
                    v, v, v, static_cast<long long>(value), v, v, v, v, v);
      ForeignKernel kernel(layout);
      kernel.put_note(kernel.free_page(), lines);
      kernel.point_to(kernel.free_page());
      CHECK(error_of([&] { Result result(kernel.image_without_vcpus()); }) == "no error");
      CHECK(error_of([&] { Result result(kernel.image()); }) == "no error");
    }
  }
}

TEST_CASE("kernel: whatever is damaged, what is told of the image is what the tables say") {
  std::mt19937 random(4711);  // NOLINT: the same on every run
  for (const ForeignKernel::Layout& layout : foreign_kernels()) {
    CAPTURE(layout.name);
    for (int round = 0; round < 4; ++round) {
      ForeignKernel kernel(layout);
      kernel.put_note(kernel.free_page(), kernel.vmcoreinfo());
      kernel.point_to(kernel.free_page());
      for (int i = 0; i < 10 << 2 * round; ++i) {
        const bool note = random() % 8 == 0;
        const std::uint64_t at =
            note ? kernel.free_page() + random() % 400 : kernel.root() + random() % 0x20000;
        kernel.memory().put_number(at, random(), 1, std::endian::little);
      }
      const Result result(kernel.image());
      if (!result.kernel) continue;
      for (const KernelMapping& part : result.image.kernel.image) {
        CHECK(result.kernel->tables.translate(part.at) == part.guest.begin());
        const std::uint64_t last = part.guest.size() - 1;
        CHECK(result.kernel->tables.translate(part.at + last) == part.guest.begin() + last);
      }
    }
  }
}

}  // namespace
}  // namespace vmconvert::test
