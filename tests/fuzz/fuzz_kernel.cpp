#include <algorithm>
#include <cstdlib>
#include <map>

#include "vmconvert/convert/verify.h"
#include "vmconvert/io/byte_source.h"

namespace vmconvert::test {
namespace {

constexpr std::uint64_t kPage = 4096, kMemory = 16 << 20;

class Silent final : public Diagnostics {
 public:
  void report(Level, std::string_view, std::optional<std::uint64_t>, std::string_view) override {}
  bool wants(Level) const override { return true; }
};

/// The guest that the bytes describe: architecture (1), registers that lead to page tables (8 each:
/// root, mode, an address in the kernel's image), then pages: number (2) and content (4096).
GuestImage guest_of(std::span<const std::byte> bytes) {
  GuestImage image;
  const auto take = [&](std::size_t size) {
    size = std::min(size, bytes.size());
    std::uint64_t value = 0;
    for (std::size_t i = size; i > 0; --i)
      value = value << 8 | std::to_integer<std::uint64_t>(bytes[i - 1]);
    bytes = bytes.subspan(size);
    return value;
  };
  const std::uint64_t arch = take(1), root = take(8), mode = take(8), in_image = take(8);
  if (arch % 4 == 0) {
    X86Registers vcpu;
    vcpu.cr0 = 0x80050033;
    vcpu.cr3 = root;
    vcpu.cr4 = mode;
    image.vcpus.push_back(vcpu);
  } else if (arch % 4 == 1) {
    image.arch = Arch::aarch64;
    Aarch64Registers vcpu;
    Aarch64Registers::System el1;
    el1.ttbr1 = root;
    el1.tcr = mode;
    el1.sctlr = 1;
    el1.vbar = in_image;
    vcpu.el1 = el1;
    image.vcpus.push_back(vcpu);
  } else if (arch % 4 == 2) {
    image.arch = Arch::riscv64;
    Riscv64Registers vcpu;
    vcpu.satp = root;
    vcpu.stvec = in_image;
    image.vcpus.push_back(vcpu);
  } else {
    image.arch = Arch::s390x;
    image.byte_order = std::endian::big;
    S390xRegisters vcpu;
    vcpu.crs[13] = root;
    vcpu.prefix = static_cast<std::uint32_t>(in_image);
    image.vcpus.push_back(vcpu);
  }
  if ((arch & 0x40) != 0) image.vcpus.clear();
  std::map<std::uint64_t, std::uint64_t>
      pages;  // number -> place in the source; the others are zero
  std::vector<std::byte> content;
  while (bytes.size() > 2) {
    const std::uint64_t page = take(2) % (kMemory / kPage);
    const std::size_t size = std::min<std::size_t>(kPage, bytes.size());
    pages[page] = content.size();
    content.insert(content.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
    content.resize(align_up(content.size(), kPage));
    bytes = bytes.subspan(size);
  }
  image.sources = {std::make_shared<MemorySource>("guest", std::move(content))};
  RunListBuilder runs(kPage);
  runs.add({GuestRange::sized({0}, kMemory), Filled{}});
  for (const auto& [page, at] : pages)
    runs.add({GuestRange::sized({page * kPage}, kPage),
              InFile{.source = 0, .stride = kPage, .at = {at}}});
  image.runs = runs.finish();
  return image;
}

}  // namespace
}  // namespace vmconvert::test

// Finds the kernel of a guest whose memory is hostile. What is found must hold: its banner is where
// the page tables say, its image within guest memory's address space.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vmconvert;
  GuestImage image = test::guest_of(std::as_bytes(std::span(data, size)));
  test::Silent diagnostics;
  const auto kernel = find_kernel(image, {}, diagnostics);
  if (kernel && kernel->facts.banner.empty()) std::abort();
  if (kernel) {
    for (const KernelMapping& part : kernel->facts.image) {
      if (kernel->tables.translate(part.at) != part.guest.begin()) std::abort();
    }
  }
  verify(image, {}, diagnostics);
  return 0;
}
