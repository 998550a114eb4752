#include "support/kernel_memory.h"

#include <cstdio>
#include <stdexcept>

namespace vmconvert::test {

KernelMemory::KernelMemory(const Layout& layout)
    : layout_(layout), memory_(kSize), next_variable_(layout.image_gpa + 0x20000) {
  for (std::uint64_t at = 0; at < kImageSize; at += 2 << 20)
    map(root(), layout.image_gva + at, layout.image_gpa + at, true);
  for (std::uint64_t at = 0; at < 2 << 20; at += 4096)
    map(root(), layout.page_offset + at, at, false);
  for (std::uint64_t at = 2 << 20; at < kSize; at += 2 << 20)
    map(root(), layout.page_offset + at, at, true);
  put(layout.image_gpa + 0x30010, layout.banner);
}

void KernelMemory::put(std::uint64_t gpa, std::string_view text) {
  const auto bytes = as_bytes(text);
  std::copy(bytes.begin(), bytes.end(), memory_.begin() + static_cast<std::ptrdiff_t>(gpa));
}

void KernelMemory::put_u64(std::uint64_t gpa, std::uint64_t value) {
  const Bytes bytes = ByteWriter().le64(value).bytes();
  std::copy(bytes.begin(), bytes.end(), memory_.begin() + static_cast<std::ptrdiff_t>(gpa));
}

void KernelMemory::put_note(std::uint64_t gpa, std::string_view text) {
  ByteWriter note;
  note.le32(11).le32(text.size()).le32(0).text("VMCOREINFO").u8(0).u8(0).text(text);
  const Bytes& bytes = note.bytes();
  std::copy(bytes.begin(), bytes.end(), memory_.begin() + static_cast<std::ptrdiff_t>(gpa));
}

void KernelMemory::point_to(std::uint64_t gpa) {
  put_u64(next_variable_, layout_.page_offset + gpa);
  next_variable_ += 24;
}

std::uint64_t KernelMemory::new_table() {
  next_table_ += 4096;
  if (next_table_ >= layout_.image_gpa) throw std::logic_error("no room for page tables");
  return next_table_;
}

void KernelMemory::map(std::uint64_t root, std::uint64_t gva, std::uint64_t gpa, bool large) {
  const auto word = [&](std::uint64_t at) {
    std::uint64_t value = 0;
    for (int i = 7; i >= 0; --i)
      value = value << 8 | std::to_integer<std::uint64_t>(memory_[at + static_cast<unsigned>(i)]);
    return value;
  };
  std::uint64_t table = root;
  for (unsigned level = layout_.levels; level > (large ? 2U : 1U); --level) {
    const std::uint64_t entry = table + 8 * ((gva >> (12 + 9 * (level - 1))) & 511);
    if (word(entry) == 0) put_u64(entry, new_table() | 0x63 | layout_.encryption_bit);
    table = word(entry) & 0x00007ffffffff000;
  }
  const unsigned shift = large ? 21 : 12;
  put_u64(table + 8 * ((gva >> shift) & 511), gpa | (large ? 0xe3 : 0x63) | layout_.encryption_bit);
}

std::string KernelMemory::vmcoreinfo() const {
  const auto phys_base = static_cast<long long>(layout_.image_gpa) -
                         static_cast<long long>(layout_.image_gva - 0xffffffff80000000);
  char text[512];
  std::snprintf(text, sizeof text,
                "OSRELEASE=6.1.0-9-test\nPAGESIZE=4096\nSYMBOL(init_uts_ns)=ffffffff8e000000\n"
                "SYMBOL(swapper_pg_dir)=%llx\nNUMBER(phys_base)=%lld\n"
                "NUMBER(pgtable_l5_enabled)=%d\nKERNELOFFSET=%llx\n",
                static_cast<unsigned long long>(layout_.image_gva + kRootInImage), phys_base,
                layout_.levels == 5 ? 1 : 0,
                static_cast<unsigned long long>(layout_.image_gva - 0xffffffff81000000));
  return text;
}

GuestImage KernelMemory::image(const std::vector<std::uint64_t>& cr3) const {
  GuestImage image;
  image.sources = {std::make_shared<MemorySource>("guest", memory_)};
  RunListBuilder runs(4096);
  runs.add({GuestRange::sized({0}, kSize), InFile{.source = 0, .stride = 4096, .at = {0}}});
  image.runs = runs.finish();
  for (const std::uint64_t root : cr3) {
    X86Registers vcpu;
    vcpu.cr0 = 0x80050033;
    vcpu.cr3 = root;
    vcpu.cr4 = layout_.levels == 5 ? 0x10f0 : 0xf0;
    image.vcpus.push_back(vcpu);
  }
  return image;
}

}  // namespace vmconvert::test
