#include "support/device_payloads.h"
#include "support/failing_io.h"
#include "support/image_bytes.h"
#include "support/process_core_builder.h"
#include "support/reading.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

constexpr std::uint64_t kPageSize = 4096;

Bytes sample() {
  SampleProcess process;
  process.blocks[0].size = 2 * kPageSize;
  process.ranges = {{0, 2 * kPageSize, 0, 0}, {0xfec00000, kPageSize, SampleRange::kIo, 0}};
  process.note_at = kPageSize;
  ProcessCore core = process.build();
  core.copy(0x7f0000001000, vmcoreinfo_note("OSRELEASE=6.1\n"));
  return core.bytes();
}

TEST_CASE("qemu-core damage: a core cut anywhere is an error, and salvage keeps true pages") {
  const Bytes whole = sample();
  const auto expected = read_bytes(whole);
  REQUIRE(expected.error == "");
  for (std::size_t size = 0; size < whole.size(); size += size < 3000 ? 1 : 61) {
    CAPTURE(size);
    const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    REQUIRE(read_bytes(cut).error != "");
    const ReadResult result = read_bytes(cut, {.salvage = true});
    if (!result.image) continue;
    REQUIRE(result.diagnostics->lost());
    for (const GuestRange range : result.image->runs.extents()) {
      REQUIRE(guest_bytes(*result.image, range.begin().value, range.size()) ==
              guest_bytes(*expected.image, range.begin().value, range.size()));
    }
  }
}

TEST_CASE("qemu-core damage: a flipped byte is an error or an image that keeps its promises") {
  const Bytes whole = sample();
  for (std::size_t at = 0; at < whole.size(); ++at) {
    // Of the guest's memory and of empty pages a few are enough.
    if (whole[at] == std::byte{0} && at % 31 != 0) continue;
    if (at + 2 * kPageSize > whole.size() && at % 509 != 0) continue;
    for (const unsigned pattern : {0x01U, 0x80U, 0xffU}) {
      CAPTURE(at);
      CAPTURE(pattern);
      Bytes bytes = whole;
      bytes[at] ^= static_cast<std::byte>(pattern);
      // Throws unless it is one of both.
      const ReadResult result = read_bytes(bytes);
      REQUIRE(result.image.has_value() != !result.error.empty());
      REQUIRE(!result.diagnostics->lost());
    }
  }
}

TEST_CASE("qemu-core damage: each failing read ends with its error") {
  const auto memory = std::make_shared<MemorySource>("input", sample());
  for (std::uint64_t n = 1;; ++n) {
    CAPTURE(n);
    const auto source = std::make_shared<ThrowingSource>(memory, n);
    const ReadResult result = read_source(source);
    if (!source->failed()) {
      CHECK(result.error == "");
      CHECK(n > 5);
      break;
    }
    REQUIRE(result.kind == ErrorKind::io);
  }
}

TEST_CASE("qemu-core damage: many mappings and many ranges take no long time") {
  SampleProcess process;
  process.blocks[0].size = 64 * kPageSize;
  process.ranges = {{0, 64 * kPageSize, 0, 0}};
  ProcessCore core = process.build();
  // The block lies in as many mappings as it has pages.
  const CoreMapping whole = core.mappings.back();
  core.mappings.pop_back();
  for (std::uint64_t page = 64; page-- > 0;) {
    const auto begin = whole.bytes.begin() + static_cast<std::ptrdiff_t>(page * kPageSize);
    core.mappings.push_back(
        {.address = whole.address + page * kPageSize, .bytes = Bytes(begin, begin + kPageSize)});
  }
  // And is seen 60,000 times.
  constexpr std::uint64_t kRanges = 60'000, kAt = 0x600000000000;
  Bytes ranges(64 * kRanges);
  core.mappings.push_back({.address = kAt, .bytes = ranges});
  CoreMapping& table = core.mappings.back();
  ByteWriter writer;
  for (std::uint64_t i = 0; i < kRanges; ++i) {
    writer.le64(process.region_at[0]).le64(0).le64(i << 20).le64(0).le64(64 * kPageSize).fill(24);
  }
  table.bytes = writer.bytes();
  core.u64(process.view + 24, kAt);
  core.u32(process.view + 32, kRanges);
  CHECK(read_bytes(core.bytes()).error == "input: guest memory lies in more than 2097152 pieces");
}

TEST_CASE("qemu-core damage: many address spaces of many ranges take no long time") {
  constexpr std::uint64_t kSpaces = 20'000, kRanges = 60'000;
  constexpr std::uint64_t kSpacesAt = 0x600000000000, kRangesAt = 0x610000000000;
  SampleProcess process;
  ProcessCore core = process.build();
  core.u8(process.name, 'x');  // the true one is hidden
  ByteWriter spaces;
  for (std::uint64_t i = 0; i < kSpaces; ++i)
    spaces.fill(16).le64(kSpacesAt + kSpaces * 40).fill(8).le64(process.view);
  spaces.text("memory").fill(2);
  ByteWriter ranges;
  for (std::uint64_t i = 0; i < kRanges; ++i)
    ranges.le64(process.region_at[0]).le64(0).le64(i << 20).le64(0).le64(4096).fill(24);
  ranges.fill(64);  // the last one is empty
  core.mappings.push_back({.address = kSpacesAt, .bytes = spaces.bytes()});
  core.mappings.push_back({.address = kRangesAt, .bytes = ranges.bytes()});
  core.u64(process.view + 24, kRangesAt);
  core.u32(process.view + 32, kRanges + 1);
  CHECK(read_bytes(core.bytes()).error ==
        "input: no address space \"memory\" with a convincing memory map was found in the process: "
        "FlatRange.mr is a null pointer (give --executable or --debug-file of just this QEMU)");
}

}  // namespace
}  // namespace vmconvert::test
