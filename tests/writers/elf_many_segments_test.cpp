#include <fcntl.h>

#include <array>
#include <cstdio>

#include "support/scratch_folder.h"
#include "support/test.h"
#include "writers/writing.h"

namespace vmconvert::test {
namespace {

/// One page of content at every other page.
GuestImage scattered(std::uint64_t extents) {
  RunListBuilder runs(4096);
  for (std::uint64_t i = 0; i < extents; ++i) {
    runs.add({GuestRange::sized({i * 8192}, 4096), Filled{static_cast<std::byte>(i == 5)}});
  }
  GuestImage image;
  image.runs = runs.finish();
  return image;
}

Bytes headers_of(const OutputPlan& plan) {
  return std::get<Literal>(plan.parts.at(0).content).bytes;
}

std::uint64_t number(const Bytes& bytes, std::uint64_t at, unsigned size) {
  std::uint64_t value = 0;
  for (unsigned i = size; i-- > 0;)
    value = value << 8 | std::to_integer<std::uint64_t>(bytes[at + i]);
  return value;
}

TEST_CASE("elf: as many segments as e_phnum can tell need no section header") {
  const Bytes headers = headers_of(plan_of("elf", scattered(65533)));  // and the notes
  CHECK(number(headers, 56, 2) == 65534);
  CHECK(number(headers, 40, 8) == 0);  // e_shoff
  CHECK(number(headers, 58, 2) == 0);  // e_shentsize
  CHECK(number(headers, 60, 2) == 0);  // e_shnum
  CHECK(headers.size() == 64 + 65534 * 56);
}

TEST_CASE("elf: one more is told by the first section header") {
  for (const std::uint64_t extents : {65534U, 65535U, 70'000U}) {
    CAPTURE(extents);
    const OutputPlan plan = plan_of("elf", scattered(extents));
    const Bytes headers = headers_of(plan);
    const std::uint64_t section = 64 + (extents + 1) * 56;
    CHECK(number(headers, 56, 2) == 0xffff);
    CHECK(number(headers, 40, 8) == section);
    CHECK(number(headers, 58, 2) == 64);
    CHECK(number(headers, 60, 2) == 1);
    REQUIRE(headers.size() == section + 64);
    CHECK(slice(headers, section, 44) == Bytes(44));
    CHECK(number(headers, section + 44, 4) == extents + 1);  // sh_info
    CHECK(slice(headers, section + 48, 16) == Bytes(16));
    CHECK(number(headers, 64 + 8, 8) == section + 64);  // the notes lie behind it
    CHECK(plan.parts.size() == extents + 1);
    CHECK(plan.parts.back().at.value % 4096 == 0);
    CHECK(number(headers, 64 + 56 * extents + 8, 8) == plan.parts.back().at.value);
    CHECK(number(headers, 64 + 56 * extents + 24, 8) == (extents - 1) * 8192);
  }
}

/// What a command prints; nothing if it cannot be run.
std::string output_of(const std::string& command) {
  std::FILE* pipe = ::popen((command + " 2>/dev/null").c_str(), "r");
  if (pipe == nullptr) return "";
  std::string text;
  std::array<char, 4096> chunk{};
  while (const std::size_t n = std::fread(chunk.data(), 1, chunk.size(), pipe)) {
    text.append(chunk.data(), n);
  }
  ::pclose(pipe);
  return text;
}

TEST_CASE("elf: readelf finds 70000 segments where they are") {
  if (output_of("readelf --version").empty()) {
    MESSAGE("readelf is not installed: skipped");
    return;
  }
  const ScratchFolder folder;
  const std::string path = folder.path("many.elf");
  const GuestImage image = scattered(70'000);
  {
    const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    FileSink sink(fd.get(), path, true);
    CountingProgress progress;
    execute(plan_of("elf", image), image, sink, 2, progress);
  }
  CHECK(output_of("readelf -hW " + path).find("65535 (70001)") != std::string::npos);
  const std::string segments = output_of("readelf -lW " + path);
  std::size_t loads = 0;
  for (std::size_t at = 0; (at = segments.find("\n  LOAD ", at)) != std::string::npos; ++at)
    ++loads;
  CHECK(loads == 70'000);
  CHECK(segments.find("0x0000000000000000 0x00000000222de000 0x001000 0x001000 RWE") !=
        std::string::npos);  // the last: 69999 * 8192
}

}  // namespace
}  // namespace vmconvert::test
