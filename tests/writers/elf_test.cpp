#include <algorithm>

#include "support/test.h"
#include "writers/writing.h"

namespace vmconvert::test {
namespace {

TEST_CASE("elf: header and program headers are these bytes") {
  const GuestImage image = image_of({{0, 0xa000}, {0x100000, 0x102000}});
  const Bytes file = executed(plan_of("elf", image), image);
  CHECK(slice(file, 0, 64) ==
        from_hex("7f 45 4c 46 02 01 01 00 00 00 00 00 00 00 00 00"     // ELF, 64 bit, LE, SysV
                 "04 00 3e 00 01 00 00 00 00 00 00 00 00 00 00 00"     // core, x86-64, entry
                 "40 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"     // e_phoff 64, e_shoff 0
                 "00 00 00 00 40 00 38 00 03 00 00 00 00 00 00 00"));  // 3 headers of 56 bytes
  CHECK(slice(file, 64, 56) ==
        from_hex("04 00 00 00 00 00 00 00 e8 00 00 00 00 00 00 00"  // NOTE at 64 + 3 * 56
                 "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"  // no addresses
                 "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"  // empty
                 "00 00 00 00 00 00 00 00"));
  CHECK(slice(file, 120, 56) ==
        from_hex("01 00 00 00 07 00 00 00 00 10 00 00 00 00 00 00"  // LOAD rwx at 0x1000
                 "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"  // virtual, physical 0
                 "00 a0 00 00 00 00 00 00 00 a0 00 00 00 00 00 00"  // sizes
                 "00 00 00 00 00 00 00 00"));
  CHECK(slice(file, 176, 56) ==
        from_hex("01 00 00 00 07 00 00 00 00 b0 00 00 00 00 00 00"
                 "00 00 00 00 00 00 00 00 00 00 10 00 00 00 00 00"  // physical 0x100000
                 "00 20 00 00 00 00 00 00 00 20 00 00 00 00 00 00"
                 "00 00 00 00 00 00 00 00"));
  CHECK(all_zero(slice(file, 232, 0x1000 - 232)));
  CHECK(slice(file, 0x1000, 0xa000) == guest_bytes(image, 0, 0xa000));
  CHECK(slice(file, 0xb000, 0x2000) == guest_bytes(image, 0x100000, 0x2000));
  CHECK(file.size() == 0xd000);
}

TEST_CASE("elf: the plan is headers and one part per extent") {
  const OutputPlan plan =
      plan_of("elf", image_of({{0, 0x1800}, {0x5000, 0x5001}, {0x9000, 0xa000}}));
  REQUIRE(plan.parts.size() == 4);
  CHECK(plan.parts[0].at.value == 0);
  CHECK(plan.parts[0].size == 64 + 4 * 56);
  CHECK(std::holds_alternative<Literal>(plan.parts[0].content));
  const std::uint64_t offsets[] = {0x1000, 0x3000, 0x4000};  // each on a border of 4 KiB
  const std::uint64_t begins[] = {0, 0x5000, 0x9000};
  const std::uint64_t sizes[] = {0x1800, 1, 0x1000};
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(plan.parts[i + 1].at.value == offsets[i]);
    CHECK(plan.parts[i + 1].size == sizes[i]);
    CHECK(std::get<GuestData>(plan.parts[i + 1].content).begin.value == begins[i]);
  }
  CHECK(plan.size == 0x5000);
}

TEST_CASE("elf: the program headers agree with the plan") {
  const GuestImage image =
      image_of({{0, 0x1800}, {0x5000, 0x5001}, {1ULL << 40, (1ULL << 40) + 77}});
  const OutputPlan plan = plan_of("elf", image);
  const Bytes file = executed(plan, image);
  for (std::size_t i = 1; i < plan.parts.size(); ++i) {
    const Bytes header = slice(file, 64 + 56 * i, 56);
    const auto word = [&](std::size_t at) {
      return load<std::uint64_t>(std::span(header).subspan(at), std::endian::little);
    };
    CHECK(word(8) == plan.parts[i].at.value);
    CHECK(word(24) == std::get<GuestData>(plan.parts[i].content).begin.value);
    CHECK(word(32) == plan.parts[i].size);
    CHECK(word(40) == plan.parts[i].size);
  }
}

TEST_CASE("elf: headers that fill a page to the byte need no other") {
  // 64 + 56 * 72 = 4096
  RunListBuilder runs(4096);
  for (std::uint64_t i = 0; i < 71; ++i) {
    runs.add({GuestRange::sized({i * 8192}, 4096), Filled{std::byte{1}}});
  }
  GuestImage image;
  image.runs = runs.finish();
  CHECK(plan_of("elf", image).parts.at(1).at.value == 4096);
  runs.add({GuestRange::sized({0}, 4096), Filled{std::byte{1}}});
  for (std::uint64_t i = 0; i < 72; ++i) {
    runs.add({GuestRange::sized({i * 8192}, 4096), Filled{std::byte{1}}});
  }
  image.runs = runs.finish();
  CHECK(plan_of("elf", image).parts.at(1).at.value == 8192);
}

TEST_CASE("elf: an image without memory is headers alone") {
  const OutputPlan plan = plan_of("elf", GuestImage());
  CHECK(plan.parts.size() == 1);
  CHECK(plan.size == 64 + 56);
}

TEST_CASE("elf: its names and suffixes are documented ones") {
  const OutputFormat& elf = writer("elf");
  CHECK(std::ranges::equal(elf.suffixes,
                           std::vector<std::string_view>{".elf", ".core", ".vmcore", ".dump"}));
}

}  // namespace
}  // namespace vmconvert::test
