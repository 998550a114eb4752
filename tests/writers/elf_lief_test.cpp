#include <LIEF/ELF.hpp>

#include "support/scratch_folder.h"
#include "support/test.h"
#include "writers/writing.h"

namespace vmconvert::test {
namespace {

TEST_CASE("elf: LIEF finds the header and segments that were meant") {
  GuestImage image = image_of({{0, 0xa000}, {0x100000, 0x103000}});
  image.vcpus.resize(2);
  image.vmcoreinfo = Vmcoreinfo{"OSRELEASE=6.1\nX=1\n", ""};
  const ScratchFolder folder;
  write_file(folder.path("small.elf"), executed(plan_of("elf", image), image));

  const std::unique_ptr<LIEF::ELF::Binary> binary =
      LIEF::ELF::Parser::parse(folder.path("small.elf"));
  REQUIRE(binary);
  CHECK(binary->header().file_type() == LIEF::ELF::E_TYPE::ET_CORE);
  CHECK(binary->header().machine_type() == LIEF::ELF::ARCH::EM_X86_64);
  CHECK(binary->header().numberof_segments() == 3);
  std::vector<GuestRange> loads;
  for (const LIEF::ELF::Segment& segment : binary->segments()) {
    if (segment.type() == LIEF::ELF::SEGMENT_TYPES::PT_NOTE) {
      CHECK(segment.physical_size() == 2 * (12 + 8 + 336) + 2 * (12 + 8 + 440) + 12 + 12 + 20);
      continue;
    }
    REQUIRE(segment.type() == LIEF::ELF::SEGMENT_TYPES::PT_LOAD);
    CHECK(segment.virtual_size() == segment.physical_size());
    loads.push_back(GuestRange::sized({segment.physical_address()}, segment.physical_size()));
    const std::vector<std::uint8_t> content = segment.content();
    const Bytes expected = guest_bytes(image, segment.physical_address(), segment.physical_size());
    CHECK(std::ranges::equal(std::as_bytes(std::span(content)), expected));
  }
  CHECK(loads == image.runs.extents());
}

}  // namespace
}  // namespace vmconvert::test
