#include "support/device_payloads.h"
#include "support/pc_stream.h"
#include "support/reading.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

constexpr std::uint64_t kRam = 2 * kMiB;

/// pc.ram of 2 MiB and these blocks, whose first page is page_of(100 + index).
ReadResult read_with(const std::vector<BlockEntry>& devices, const ReadOptions& options = {}) {
  std::vector<BlockEntry> blocks = devices;
  blocks.push_back({"pc.ram", kRam, {}});
  RamPayload payload;
  for (std::size_t i = 0; i < devices.size(); ++i) payload.page(devices[i].name, 0, 100 + i);
  return read_bytes(pc().ram_start(blocks).ram_end(payload.eos()).eos().bytes(), options);
}

GuestRange last_extent(const ReadResult& result) { return result.image->runs.extents().back(); }

TEST_CASE("dimm: one lies at the next GiB behind RAM and a warning says that this is a rule") {
  const ReadResult result = read_with({{"memdimm0", 128 * kMiB, {}}});
  REQUIRE(result.error == "");
  CHECK(last_extent(result) == GuestRange::sized({4 * kGiB}, 128 * kMiB));
  CHECK(is_page(*result.image, 4 * kGiB, 100));
  CHECK(
      result.has_warning("memory block memdimm0 is placed at 0x100000000 by rule, as the stream "
                         "does not tell (--block NAME=ADDRESS overrides)"));
}

TEST_CASE("dimm: RAM above 4 GiB pushes it up to the next GiB") {
  QevmBuilder stream = pc().ram_start({{"pc.ram", 5 * kGiB + kMiB, {}}, {"d", 64 * kMiB, {}}});
  const ReadResult result =
      read_bytes(stream.ram_end(RamPayload().page("d", 0, 1).eos()).eos().bytes());
  REQUIRE(result.error == "");
  CHECK(is_page(*result.image, 7 * kGiB, 1));  // 2 GiB and 1 MiB from 4 GiB on
}

TEST_CASE("dimm: several of one size follow each other in the order of the stream") {
  const ReadResult result =
      read_with({{"b", 128 * kMiB, {}}, {"a", 128 * kMiB, {}}, {"/objects/c", 128 * kMiB, {}}});
  REQUIRE(result.error == "");
  CHECK(last_extent(result) == GuestRange::sized({4 * kGiB}, 3 * 128 * kMiB));
  for (std::uint64_t i = 0; i < 3; ++i) {
    CHECK(is_page(*result.image, 4 * kGiB + i * 128 * kMiB, 100 + i));
  }
}

TEST_CASE("dimm: several sizes could lie anywhere and need the user") {
  const std::vector<BlockEntry> two{{"b", 128 * kMiB, {}}, {"a\n", 64 * kMiB, {}}};
  const ReadResult refused = read_with(two);
  CHECK(refused.kind == ErrorKind::unsupported);
  CHECK(refused.error ==
        "input: memory block \"b\" of 128 MiB: the stream does not tell its guest address (give it "
        "with --block NAME=ADDRESS)");
  const ReadResult salvaged = read_with(two, {.salvage = true});
  REQUIRE(salvaged.error == "");
  CHECK(last_extent(salvaged).end().value == kRam);
  CHECK(salvaged.diagnostics->of(Diagnostics::Level::loss) ==
        std::vector<std::string>{"input: memory block \"b\" of 128 MiB: the stream does not tell "
                                 "its guest address; left out",
                                 "input: memory block \"a\\x0a\" of 64 MiB: the stream does not "
                                 "tell its guest address; left out"});
}

TEST_CASE("dimm: the user's address holds, with or without the path of old machine types") {
  for (const char* name : {"d", "/objects/d"}) {
    const ReadResult result =
        read_with({{name, 64 * kMiB, {}}}, {.block_addresses = {{"d", {9 * kGiB}}}});
    REQUIRE(result.error == "");
    CHECK(last_extent(result) == GuestRange::sized({9 * kGiB}, 64 * kMiB));
    CHECK(result.diagnostics->of(Diagnostics::Level::warning).empty());
    CHECK(result.has_decision("memory block " + std::string(name) +
                              ": 64 MiB at 0x240000000 (--block)"));
  }
}

TEST_CASE("dimm: one that the user placed is in the way of the others") {
  const ReadResult result =
      read_with({{"a", 64 * kMiB, {}}, {"b", 32 * kMiB, {}}, {"c", 32 * kMiB, {}}},
                {.block_addresses = {{"a", {4 * kGiB + 32 * kMiB}}}});
  REQUIRE(result.error == "");
  CHECK(is_page(*result.image, 4 * kGiB + 32 * kMiB, 100));
  CHECK(is_page(*result.image, 4 * kGiB, 101));
  CHECK(is_page(*result.image, 4 * kGiB + 96 * kMiB, 102));
}

TEST_CASE("dimm: an address that overlaps other memory is refused") {
  const auto message = [](std::uint64_t address) {
    return read_with({{"d", 64 * kMiB, {}}}, {.block_addresses = {{"d", {address}}}}).error;
  };
  CHECK(message(0x100000) == "input: memory block \"d\" at 0x100000 would overlap \"pc.ram\"");
  CHECK(message(kRam - 4096) == "input: memory block \"d\" at 0x1ff000 would overlap \"pc.ram\"");
  CHECK(message(kRam) == "");
}

TEST_CASE("dimm: an address that cannot be one is refused") {
  const auto message = [](std::uint64_t address) {
    return read_with({{"d", 64 * kMiB, {}}}, {.block_addresses = {{"d", {address}}}}).error;
  };
  CHECK(message(4 * kGiB + 1) ==
        "input: memory block \"d\" of 64 MiB cannot lie at 0x100000001: not a multiple of the page "
        "size or beyond the address space");
  CHECK(message(~std::uint64_t{0} - 4095) ==
        "input: memory block \"d\" of 64 MiB cannot lie at 0xfffffffffffff000: not a multiple of "
        "the page size or beyond the address space");
}

TEST_CASE("dimm: the user's address of a block that does not exist is refused") {
  const ReadResult result =
      read_with({{"d", 64 * kMiB, {}}}, {.block_addresses = {{"e\n", {9 * kGiB}}}});
  CHECK(result.kind == ErrorKind::usage);
  CHECK(result.error == "input: there is no memory block \"e\\x0a\" (-vv lists them)");
}

}  // namespace
}  // namespace vmconvert::test
