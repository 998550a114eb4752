#include <algorithm>

#include "qemu/x86_layout.h"
#include "support/device_payloads.h"
#include "support/pc_stream.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

using qemu::Board;
using qemu::choose_split;
using qemu::SplitFacts;

constexpr std::uint64_t kPage = 4096;

qemu::Cmos cmos_of(std::uint64_t below, std::uint64_t above) {
  const Bytes state = rtc_state(below, above);
  qemu::Cmos cmos{};
  std::copy_n(state.begin(), cmos.size(), cmos.begin());
  return cmos;
}

struct Row {
  Board board;
  const char* machine;
  std::uint64_t ram;
  std::uint64_t below;
};

// Around every border: a page less, exact, a page more.
constexpr Row kRows[] = {
    {Board::i440fx, "pc-i440fx-7.2", 64 * kMiB, 64 * kMiB},
    {Board::i440fx, "pc-i440fx-7.2", 0xc0000000 - kPage, 0xc0000000 - kPage},
    {Board::i440fx, "pc-i440fx-7.2", 0xc0000000, 0xc0000000},
    {Board::i440fx, "pc-i440fx-7.2", 0xc0000000 + kPage, 0xc0000000 + kPage},
    {Board::i440fx, "pc-i440fx-7.2", 0xe0000000 - kPage, 0xe0000000 - kPage},
    {Board::i440fx, "pc-i440fx-7.2", 0xe0000000, 0xc0000000},
    {Board::i440fx, "pc-i440fx-7.2", 0xe0000000 + kPage, 0xc0000000},
    {Board::i440fx, "pc-i440fx-7.2", 64 * kGiB, 0xc0000000},
    {Board::i440fx, "pc-i440fx-2.0", 0xe0000000, 0xc0000000},
    {Board::i440fx, "pc-i440fx-rhel7.6.0", 0xe0000000, 0xc0000000},
    {Board::i440fx, "pc-i440fx-jammy-hpb", 0xe0000000, 0xc0000000},
    {Board::i440fx, "pc-i440fx-noble-v2", 0xe0000000, 0xc0000000},
    {Board::i440fx, "pc-i440fx-10.0", 0xe0000000, 0xc0000000},
    {Board::i440fx, "pc", 0xe0000000, 0xc0000000},
    {Board::i440fx, "pc-i440fx-1.7", 0xe0000000 - kPage, 0xe0000000 - kPage},
    {Board::i440fx, "pc-i440fx-1.7", 0xe0000000, 0xe0000000},
    {Board::i440fx, "pc-i440fx-1.7", 0xe0000000 + kPage, 0xe0000000},
    {Board::i440fx, "pc-i440fx-1.4", 4 * kGiB, 0xe0000000},
    {Board::i440fx, "pc-1.3", 4 * kGiB, 0xe0000000},
    {Board::i440fx, "pc-0.15", 4 * kGiB, 0xe0000000},
    {Board::i440fx, "rhel6.6.0", 4 * kGiB, 0xe0000000},
    {Board::q35, "pc-q35-10.0", 0x80000000 - kPage, 0x80000000 - kPage},
    {Board::q35, "pc-q35-10.0", 0x80000000, 0x80000000},
    {Board::q35, "pc-q35-10.0", 0x80000000 + kPage, 0x80000000 + kPage},
    {Board::q35, "pc-q35-10.0", 0xb0000000 - kPage, 0xb0000000 - kPage},
    {Board::q35, "pc-q35-10.0", 0xb0000000, 0x80000000},
    {Board::q35, "pc-q35-10.0", 0xb0000000 + kPage, 0x80000000},
    {Board::q35, "pc-q35-rhel9.4.0", 0xb0000000, 0x80000000},
    {Board::q35, "q35", 0xb0000000, 0x80000000},
    {Board::q35, "pc-q35-2.0", 0xb0000000, 0x80000000},
    {Board::q35, "pc-q35-1.7", 0xb0000000 - kPage, 0xb0000000 - kPage},
    {Board::q35, "pc-q35-1.7", 0xb0000000, 0xb0000000},
    {Board::q35, "pc-q35-1.7", 0xb0000000 + kPage, 0xb0000000},
    {Board::microvm, "microvm", 0xc0000000 - kPage, 0xc0000000 - kPage},
    {Board::microvm, "microvm", 0xc0000000, 0xc0000000},
    {Board::microvm, "microvm", 0xc0000000 + kPage, 0xc0000000},
    {Board::isapc, "isapc", 0xe0000000 - kPage, 0xe0000000 - kPage},
    {Board::isapc, "isapc", 0xe0000000, 0xe0000000},
    {Board::isapc, "isapc", 0xe0000000 + kPage, 0xe0000000},
    {Board::xenfv, "xenfv-4.2", 0xf0000000 - kPage, 0xf0000000 - kPage},
    {Board::xenfv, "xenfv-4.2", 0xf0000000, 0xf0000000},
    {Board::xenfv, "xenfv-4.2", 0xf0000000 + kPage, 0xf0000000},
};

TEST_CASE("split: the rule of each board and age holds around its borders") {
  for (const Row& row : kRows) {
    CAPTURE(row.machine);
    CAPTURE(hex(row.ram));
    const auto split = choose_split({row.board, row.machine, row.ram, {}, {}});
    CHECK(hex(split.below) == hex(row.below));
    CHECK(split.origin == "the rule of machine type " + std::string(row.machine));
  }
}

TEST_CASE("split: the CMOS of such a guest gives the same") {
  for (const Row& row : kRows) {
    CAPTURE(row.machine);
    CAPTURE(hex(row.ram));
    const auto cmos = cmos_of(row.below, row.ram - row.below);
    const auto split = choose_split({row.board, row.machine, row.ram, cmos, {}});
    CHECK(hex(split.below) == hex(row.below));
    CHECK(split.origin == "the CMOS RAM of the saved RTC");
  }
}

TEST_CASE("split: the CMOS knows max-ram-below-4g") {
  for (const std::uint64_t below : {std::uint64_t{1} * kGiB, 2 * kGiB, 3 * kGiB, 0xf0000000UL}) {
    const SplitFacts facts{
        Board::i440fx, "pc-i440fx-7.2", 5 * kGiB, cmos_of(below, 5 * kGiB - below), {}};
    CHECK(hex(choose_split(facts).below) == hex(below));
  }
}

TEST_CASE("split: a CMOS that does not fit the size of RAM is not believed") {
  const std::uint64_t ram = 5 * kGiB;
  const auto check_rule = [&](const qemu::Cmos& cmos) {
    const auto split = choose_split({Board::i440fx, "pc-i440fx-7.2", ram, cmos, {}});
    CHECK(hex(split.below) == hex(0xc0000000));
    CHECK(
        split.origin ==
        "the rule of machine type pc-i440fx-7.2, as the CMOS does not agree with the size of RAM");
  };
  check_rule(cmos_of(0, 0));
  check_rule(cmos_of(3 * kGiB, 2 * kGiB + 0x10000));
  check_rule(cmos_of(3 * kGiB, 2 * kGiB - 0x10000));
  check_rule(cmos_of(5 * kGiB, 0));  // does not lie below 4 GiB
  check_rule(cmos_of(2 * kMiB, 3 * kGiB));
}

TEST_CASE("split: a CMOS whose split is not on a page border is not believed") {
  qemu::Cmos cmos{};
  cmos[0x30] = std::byte{1};  // 1 KiB above the first MiB
  cmos[0x5b] = std::byte{1};  // 64 KiB above 4 GiB
  const auto split = choose_split({Board::i440fx, "pc-i440fx-7.2", 0x111000, cmos, {}});
  CHECK(hex(split.below) == hex(0x111000));
}

TEST_CASE("split: small guests are described in KiB above the first MiB") {
  for (const std::uint64_t ram : {2 * kMiB, 16 * kMiB, 17 * kMiB, 16 * kMiB + 64 * kKiB}) {
    CAPTURE(hex(ram));
    CHECK(qemu::cmos_ram_size(cmos_of(ram, 0)) == ram);
  }
  CHECK(!qemu::cmos_ram_size(cmos_of(kMiB, 0)));
  CHECK(qemu::cmos_ram_size(cmos_of(3 * kGiB, 1021 * kGiB)) == kGiB * 1024);
}

TEST_CASE("split: without a machine type the rule is the board's") {
  CHECK(choose_split({Board::q35, "", kGiB, {}, {}}).origin == "the board's rule");
}

TEST_CASE("split: what the user says wins over CMOS and rule") {
  SplitFacts facts{Board::q35, "pc-q35-7.2", 5 * kGiB, cmos_of(2 * kGiB, 3 * kGiB), {}};
  for (const std::uint64_t below : {64 * kKiB, kGiB, 3 * kGiB, 4 * kGiB}) {
    facts.below_4g = below;
    CHECK(hex(choose_split(facts).below) == hex(below));
    CHECK(choose_split(facts).origin == "--below-4g");
  }
}

TEST_CASE("split: what the user says has to be possible") {
  SplitFacts facts{Board::q35, "pc-q35-7.2", 5 * kGiB, {}, {}};
  const auto message = [&](std::uint64_t below) {
    facts.below_4g = below;
    return error_of([&] { choose_split(facts); });
  };
  const std::string rest = " is not a multiple of 64 KiB within main RAM (5 GiB) and 4 GiB";
  CHECK(message(0) == "--below-4g 0 bytes" + rest);
  CHECK(message(kMiB + kPage) == "--below-4g 1.0 MiB" + rest);
  CHECK(message(4 * kGiB + 64 * kMiB) == "--below-4g 4.1 GiB" + rest);
  facts.ram_size = kGiB;
  CHECK(message(2 * kGiB) ==
        "--below-4g 2 GiB is not a multiple of 64 KiB within main RAM (1 GiB) and 4 GiB");
}

constexpr std::uint64_t kTiB = 1024 * kGiB;

Bytes e820(std::uint64_t base, std::uint64_t length, std::uint32_t type) {
  return ByteWriter().fill(13, 0x77).le64(base).le64(length).le32(type).bytes();
}

TEST_CASE("split: an e820 entry at 1 TiB tells of RAM that was moved there") {
  CHECK(qemu::tells_relocated_ram(e820(kTiB, kGiB, 1), {}, kGiB));
  CHECK(!qemu::tells_relocated_ram(e820(kTiB, 2 * kGiB, 1), {}, kGiB));
  CHECK(!qemu::tells_relocated_ram(e820(4 * kGiB, kGiB, 1), {}, kGiB));
  CHECK(!qemu::tells_relocated_ram(e820(kTiB, kGiB, 2), {}, kGiB));  // reserved
  CHECK(!qemu::tells_relocated_ram({}, {}, kGiB));
}

Bytes srat_entry(std::uint64_t base, std::uint32_t flags) {
  return ByteWriter()
      .fill(48, 0x77)
      .u8(1)
      .u8(40)
      .le32(0)
      .le16(0)
      .le64(base)
      .le64(kGiB)
      .le32(0)
      .le32(flags)
      .fill(8)
      .bytes();
}

TEST_CASE("split: memory affinity at 1 TiB tells of RAM that was moved there") {
  CHECK(qemu::tells_relocated_ram({}, srat_entry(kTiB, 1), 3 * kGiB));
  CHECK(!qemu::tells_relocated_ram({}, srat_entry(4 * kGiB, 1), 3 * kGiB));
  CHECK(!qemu::tells_relocated_ram({}, srat_entry(kTiB, 3), 3 * kGiB));  // hot-pluggable
  const Bytes entry = srat_entry(kTiB, 1);
  CHECK(!qemu::tells_relocated_ram({}, std::span(entry).first(48 + 39), kGiB));  // cut off
}

}  // namespace
}  // namespace vmconvert::test
