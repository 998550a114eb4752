#include <algorithm>

#include "support/test.h"
#include "writers/writing.h"

namespace vmconvert::test {
namespace {

GuestImage pv_guest(std::initializer_list<Extent> extents) {
  GuestImage image = image_of(extents);
  image.xen = XenFacts{.type = XenGuestType::pv, .major = 4, .minor = 17};
  return image;
}

struct Load {
  std::uint64_t offset, p_vaddr, p_paddr, size;
  friend bool operator==(const Load&, const Load&) = default;
};

std::uint64_t word(const Bytes& file, std::uint64_t at) {
  return load<std::uint64_t>(std::span(file).subspan(at), std::endian::little);
}

std::vector<Load> loads_of(const Bytes& file) {
  std::vector<Load> loads;
  const auto count = load<std::uint16_t>(std::span(file).subspan(56), std::endian::little);
  for (std::uint64_t i = 1; i < count; ++i) {
    const std::uint64_t at = 64 + 56 * i;
    loads.push_back(
        {word(file, at + 8), word(file, at + 16), word(file, at + 24), word(file, at + 32)});
    CHECK(word(file, at + 40) == loads.back().size);
  }
  return loads;
}

/// The last note, which must be Xen's: the words of its descriptor.
std::vector<std::uint64_t> xen_note(const Bytes& file) {
  const std::uint64_t end = word(file, 64 + 8) + word(file, 64 + 32);
  CHECK(slice(file, end - 96, 16) == from_hex("04 00 00 00 50 00 00 00 01 00 00 01 58 65 6e 00"));
  std::vector<std::uint64_t> words;
  for (std::uint64_t at = end - 80; at < end; at += 8) words.push_back(word(file, at));
  return words;
}

/// What the tree that is the last PT_LOAD says of a pfn; 0 if it says nothing.
std::uint64_t p2m(const Bytes& file, std::uint64_t root, std::uint64_t pfn) {
  const Load tree = loads_of(file).back();
  const auto at = [&](std::uint64_t frame, std::uint64_t slot) {
    REQUIRE(frame * 4096 >= tree.p_paddr);
    REQUIRE(frame * 4096 < tree.p_paddr + tree.size);
    return word(file, tree.offset + frame * 4096 - tree.p_paddr + 8 * slot);
  };
  const std::uint64_t list = at(root, pfn >> 18);
  if (list == 0) return 0;
  const std::uint64_t leaf = at(list, pfn >> 9 & 511);
  return leaf == 0 ? 0 : at(leaf, pfn & 511);
}

constexpr std::uint64_t kNoFrame = ~std::uint64_t{0};

TEST_CASE("elf xen: a PV guest has a p2m of its own frames behind its memory") {
  GuestImage image = pv_guest({{0, 0x300000}, {0x400000, 0x500000}});
  image.kernel.page_offset = {0xffff888000000000, "test"};
  const Bytes file = executed(plan_of("elf", image), image);
  const std::vector<Load> loads = loads_of(file);
  REQUIRE(loads.size() == 3);
  // From 0x500000 on to the next 2 MiB, and 2 MiB more. Root, list, no frames, 5 leaves.
  CHECK(loads[2] == Load{0x401000, 0xffff888000800000, 0x800000, 8 * 4096});
  CHECK(file.size() == 0x401000 + 8 * 4096);
  CHECK(xen_note(file) == std::vector<std::uint64_t>{4, 17, 0, 0, 0, 0, 0, 0, 0, 0x800});
  for (std::uint64_t pfn = 0; pfn < 0x808; ++pfn) CHECK(p2m(file, 0x800, pfn) == pfn);
  CHECK(p2m(file, 0x800, 0x808) == kNoFrame);
  CHECK(p2m(file, 0x800, 0xa00) == 0);
  CHECK(p2m(file, 0x800, 1 << 18) == 0);
  CHECK(executed(plan_of("elf", image), image) == naive_output(plan_of("elf", image), image));
}

TEST_CASE("elf xen: a p2m does not grow with holes that a file claims") {
  const GuestImage image = pv_guest({{0, 0x2000}, {0x1000000000, 0x1000003000}});
  const Bytes file = executed(plan_of("elf", image), image);
  const std::uint64_t root = xen_note(file).at(9);
  CHECK(root == 0x1000400);
  CHECK(loads_of(file).back().size == (1 + 65 + 1 + 3) * 4096);
  for (const std::uint64_t pfn : {0U, 1U, 0x1000000U, 0x1000002U, 0x1000400U})
    CHECK(p2m(file, root, pfn) == pfn);
  for (const std::uint64_t pfn : {2U, 511U, 512U, 0xffffffU, 0x1000003U})
    CHECK(p2m(file, root, pfn) == kNoFrame);
}

TEST_CASE("elf xen: guests that need no p2m, or whose tools cannot be told, have none") {
  const auto loads = [](const GuestImage& image) {
    return loads_of(executed(plan_of("elf", image), image)).size();
  };
  GuestImage image = pv_guest({{0, 0x2000}});
  CHECK(loads(image) == 2);
  image.xen->type = XenGuestType::hvm;
  CHECK(loads(image) == 1);
  image.xen->type = XenGuestType::pv;
  image.xen->width = 4;
  CHECK(loads(image) == 1);
  image.xen->width = 8;
  image.xen->tables = XenTables::machine;  // --xen-layout asis
  CHECK(loads(image) == 1);
  CHECK(plan_of("elf", pv_guest({{0x7ffffff000, 0x8000000000}})).parts.size() == 2);
}

TEST_CASE("elf xen: by machine frames") {
  GuestImage image = pv_guest({{0, 0x4000}, {0x6000, 0x7000}});
  image.xen->tables = XenTables::machine;
  image.xen->machine_layout = {{0, 0x900, 2}, {2, 0x700, 2}, {6, 0x702, 1}};
  image.kernel.page_offset = {0xffff888000000000, "test"};
  image.kernel.image = {{guest_range(0x1000, 0x3000), {0xffffffff81000000}}};
  const Bytes file = executed(plan_of("elf", image), image);
  // Ascending by machine address, each where its kernel sees it.
  CHECK(loads_of(file) == std::vector<Load>{{0x1000, 0xffffffff81001000, 0x700000, 0x1000},
                                            {0x2000, 0xffff888000003000, 0x701000, 0x1000},
                                            {0x3000, 0xffff888000006000, 0x702000, 0x1000},
                                            {0x4000, 0xffff888000000000, 0x900000, 0x1000},
                                            {0x5000, 0xffffffff81000000, 0x901000, 0x1000},
                                            {0x6000, 0, 0xc00000, 4 * 4096}});
  const std::uint64_t pfns[] = {2, 3, 6, 0, 1};
  for (std::uint64_t i = 0; i < 5; ++i)
    CHECK(slice(file, 0x1000 * (i + 1), 0x1000) == guest_bytes(image, pfns[i] * 4096, 4096));
  CHECK(xen_note(file).at(9) == 0xc00);
  for (std::uint64_t pfn = 0; pfn < 8; ++pfn) {
    const std::uint64_t frames[] = {0x900,    0x901,    0x700, 0x701,
                                    kNoFrame, kNoFrame, 0x702, kNoFrame};
    CHECK(p2m(file, 0xc00, pfn) == frames[pfn]);
  }
}

TEST_CASE("elf xen: a note of Xen that the input has makes way") {
  GuestImage image = pv_guest({{0, 0x2000}});
  image.notes = {{"Xen", 0x1000001, Bytes(80)}, {"Xen", 0x1000002, Bytes(8)}};
  const Bytes file = executed(plan_of("elf", image), image);
  CHECK(word(file, 64 + 32) == 16 + 8 + 24 + 16 + 16 + 80);
  CHECK(xen_note(file).at(9) == 0x400);
}

}  // namespace
}  // namespace vmconvert::test
