#include "support/test.h"
#include "writers/writing.h"

namespace vmconvert::test {
namespace {

struct Load {
  std::uint64_t vaddr, paddr, size;
  friend bool operator==(const Load&, const Load&) = default;
};

/// The PT_LOADs of a plan's file, each of whose content has to be that of its range.
std::vector<Load> loads_of(const GuestImage& image) {
  const Bytes file = executed(plan_of("elf", image), image);
  const auto word = [&](std::size_t at) {
    return load<std::uint64_t>(std::span(file).subspan(at, 8), std::endian::little);
  };
  std::vector<Load> loads;
  const auto count = std::to_integer<std::size_t>(file[56]);
  for (std::size_t i = 1; i < count; ++i) {
    const std::size_t at = 64 + 56 * i;
    loads.push_back({word(at + 16), word(at + 24), word(at + 32)});
    CHECK(slice(file, word(at + 8), loads.back().size) ==
          guest_bytes(image, loads.back().paddr, loads.back().size));
  }
  return loads;
}

constexpr std::uint64_t kMap = 0xffff888000000000, kImage = 0xffffffff81000000;

GuestImage mapped_image(std::uint64_t image_begin, std::uint64_t image_end) {
  GuestImage image = image_of({{0, 0xa000}, {0x100000, 0x140000}});
  image.kernel.page_offset = {kMap, "test"};
  image.kernel.image = {KernelMapping{guest_range(image_begin, image_end), {kImage}}};
  return image;
}

TEST_CASE("elf: the kernel's image is carved out of its range, all else is in the direct map") {
  CHECK(loads_of(mapped_image(0x110000, 0x120000)) ==
        std::vector<Load>{{kMap, 0, 0xa000},
                          {kMap + 0x100000, 0x100000, 0x10000},
                          {kImage, 0x110000, 0x10000},
                          {kMap + 0x120000, 0x120000, 0x20000}});
}

TEST_CASE("elf: an image at the border of a range, or beyond it, leaves no empty PT_LOAD") {
  CHECK(loads_of(mapped_image(0x100000, 0x120000)) ==
        std::vector<Load>{
            {kMap, 0, 0xa000}, {kImage, 0x100000, 0x20000}, {kMap + 0x120000, 0x120000, 0x20000}});
  CHECK(loads_of(mapped_image(0x130000, 0x150000)) ==
        std::vector<Load>{
            {kMap, 0, 0xa000}, {kMap + 0x100000, 0x100000, 0x30000}, {kImage, 0x130000, 0x10000}});
  // Part of it lies where the guest has no memory.
  CHECK(loads_of(mapped_image(0xf0000, 0x110000)) ==
        std::vector<Load>{{kMap, 0, 0xa000},
                          {kImage + 0x10000, 0x100000, 0x10000},
                          {kMap + 0x110000, 0x110000, 0x30000}});
}

TEST_CASE("elf: what lies between the parts of an image is in the direct map, which may end") {
  GuestImage image = mapped_image(0x110000, 0x118000);
  image.kernel.image.push_back({guest_range(0x120000, 0x128000), {kImage + 0x10000}});
  image.kernel.direct_map_end = GuestPhysAddr{0x130000};
  CHECK(loads_of(image) == std::vector<Load>{{kMap, 0, 0xa000},
                                             {kMap + 0x100000, 0x100000, 0x10000},
                                             {kImage, 0x110000, 0x8000},
                                             {kMap + 0x118000, 0x118000, 0x8000},
                                             {kImage + 0x10000, 0x120000, 0x8000},
                                             {kMap + 0x128000, 0x128000, 0x8000},
                                             {0, 0x130000, 0x10000}});
  image.kernel.direct_map_end = GuestPhysAddr{0x8000};
  image.kernel.image.clear();
  CHECK(loads_of(image) ==
        std::vector<Load>{{kMap, 0, 0x8000}, {0, 0x8000, 0x2000}, {0, 0x100000, 0x40000}});
}

TEST_CASE("elf: without a direct map only the image has virtual addresses") {
  GuestImage image = mapped_image(0x110000, 0x120000);
  image.kernel.page_offset.reset();
  CHECK(loads_of(image) == std::vector<Load>{{0, 0, 0xa000},
                                             {0, 0x100000, 0x10000},
                                             {kImage, 0x110000, 0x10000},
                                             {0, 0x120000, 0x20000}});
}

}  // namespace
}  // namespace vmconvert::test
