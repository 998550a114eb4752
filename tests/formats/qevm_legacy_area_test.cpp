#include "support/device_payloads.h"
#include "support/pc_stream.h"
#include "support/reading.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

// Page i of main RAM has number i, of pc.rom 5000 + i, of the BIOS 6000 + i.
constexpr std::uint64_t kRom = 5000, kBios = 6000;
constexpr std::uint64_t kRamPages = 1024;  // 4 MiB

struct Guest {
  std::string machine = "pc-i440fx-7.2";
  std::vector<BlockEntry> others;
  std::string bridge_name;
  Bytes bridge;
};

ReadResult read_guest_of(const Guest& guest) {
  std::vector<BlockEntry> blocks{{"pc.ram", kRamPages * 4096, {}}};
  blocks.insert(blocks.end(), guest.others.begin(), guest.others.end());
  RamPayload payload;
  payload.pages("pc.ram", 0, 0, kRamPages);
  for (const BlockEntry& block : guest.others) {
    if (block.name == "vga.vram") continue;
    payload.pages(block.name, 0, block.name == "pc.rom" ? kRom : kBios, block.length / 4096);
  }
  QevmBuilder stream = pc(guest.machine).ram_start(blocks).ram_end(payload.eos());
  if (!guest.bridge.empty()) stream.device(guest.bridge_name, guest.bridge);
  return read_bytes(stream.eos().description().bytes());
}

std::vector<BlockEntry> roms() {
  return {{"vga.vram", 64 * kKiB, {}}, {"pc.rom", 128 * kKiB, {}}, {"pc.bios", 256 * kKiB, {}}};
}

ReadResult i440fx(const BridgeState& state, const std::vector<BlockEntry>& others = roms()) {
  return read_guest_of({"pc-i440fx-7.2", others, "0000:00:00.0/I440FX", i440fx_state(state)});
}
ReadResult q35(const BridgeState& state, const std::vector<BlockEntry>& others = roms()) {
  return read_guest_of({"pc-q35-7.2", others, "0000:00:00.0/mch", mch_state(state)});
}

bool is_ram(const GuestImage& image, std::uint64_t begin, std::uint64_t end) {
  return are_pages(image, begin, begin / 4096, (end - begin) / 4096);
}

const std::vector kAllButVga{guest_range(0, 0xa0000), guest_range(0xc0000, 4 * kMiB)};

TEST_CASE("legacy area: with all shadowed it is RAM but the VGA window") {
  for (const ReadResult& result : {i440fx({}), q35({})}) {
    REQUIRE(result.error == "");
    CHECK(result.image->runs.extents() == kAllButVga);
    CHECK(is_ram(*result.image, 0, 0xa0000));
    CHECK(is_ram(*result.image, 0xc0000, 4 * kMiB));
  }
}

TEST_CASE("legacy area: without the bridge's state RAM is taken to be seen") {
  const ReadResult result = read_guest_of({.others = roms()});
  REQUIRE(result.error == "");
  CHECK(result.image->runs.extents() == kAllButVga);
  CHECK(is_ram(*result.image, 0xc0000, 4 * kMiB));
}

TEST_CASE("legacy area: state of another PCI device is not the bridge's") {
  const ReadResult result = i440fx({.pam = std::vector<std::uint8_t>(7), .device = 0x7000});
  REQUIRE(result.error == "");
  CHECK(is_ram(*result.image, 0xc0000, 4 * kMiB));
}

TEST_CASE("legacy area: with nothing shadowed ROM and BIOS are seen") {
  const BridgeState reset{.pam = std::vector<std::uint8_t>(7)};
  for (const ReadResult& result : {i440fx(reset), q35(reset)}) {
    REQUIRE(result.error == "");
    CHECK(result.image->runs.extents() == kAllButVga);
    CHECK(are_pages(*result.image, 0xc0000, kRom, 32));
    CHECK(are_pages(*result.image, 0xe0000, kBios + 32, 32));  // the BIOS' last 128 KiB
    CHECK(is_ram(*result.image, 0x100000, 4 * kMiB));
  }
}

TEST_CASE("legacy area: each register shows its own 16 KiB and the first the BIOS' 64 KiB") {
  // Segment, register counted from PAM0, value that alone reads RAM.
  struct Segment {
    std::uint64_t begin, size;
    std::size_t pam;
    std::uint8_t value;
  };
  std::vector<Segment> segments{{0xf0000, 0x10000, 0, 0x10}};
  for (std::size_t i = 0; i < 12; ++i) {
    segments.push_back({0xc0000 + i * 0x4000, 0x4000, 1 + i / 2,
                        static_cast<std::uint8_t>(i % 2 == 0 ? 0x01 : 0x10)});
  }
  for (const Segment& segment : segments) {
    CAPTURE(hex(segment.begin));
    BridgeState state{.pam = {0x20, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22}};  // written only
    state.pam[segment.pam] = static_cast<std::uint8_t>(state.pam[segment.pam] | segment.value);
    for (const ReadResult& result : {i440fx(state), q35(state)}) {
      REQUIRE(result.error == "");
      for (std::uint64_t at = 0xc0000; at < 0x100000; at += 0x4000) {
        CAPTURE(hex(at));
        const bool in_segment = at >= segment.begin && at < segment.begin + segment.size;
        const std::uint64_t shadowed = at / 4096;
        const std::uint64_t rom =
            at < 0xe0000 ? kRom + (at - 0xc0000) / 4096 : kBios + 32 + (at - 0xe0000) / 4096;
        CHECK(are_pages(*result.image, at, in_segment ? shadowed : rom, 4));
      }
    }
  }
}

TEST_CASE("legacy area: a small BIOS leaves a hole below it") {
  const ReadResult result =
      i440fx({.pam = std::vector<std::uint8_t>(7)},
             {{"vga.vram", 64 * kKiB, {}}, {"pc.bios", 64 * kKiB, {}}});
  REQUIRE(result.error == "");
  CHECK(result.image->runs.extents() ==
        std::vector{guest_range(0, 0xa0000), guest_range(0xf0000, 4 * kMiB)});
  CHECK(are_pages(*result.image, 0xf0000, kBios, 16));
}

TEST_CASE("legacy area: isa-bios is preferred to pc.bios") {
  const ReadResult result =
      i440fx({.pam = std::vector<std::uint8_t>(7)}, {{"isa-bios", 128 * kKiB, {}}});
  REQUIRE(result.error == "");
  CHECK(are_pages(*result.image, 0xe0000, kBios, 32));
}

TEST_CASE("legacy area: without a VGA nothing hides the RAM at its window") {
  for (const ReadResult& result : {i440fx({}, {}), q35({}, {})}) {
    REQUIRE(result.error == "");
    CHECK(is_ram(*result.image, 0xa0000, 0xc0000));
  }
}

TEST_CASE("legacy area: open SMRAM shows the RAM behind the VGA window") {
  for (const ReadResult& result : {i440fx({.smram = 0x4a}), q35({.smram = 0x4a})}) {
    REQUIRE(result.error == "");
    CHECK(result.image->runs.extents() == std::vector{guest_range(0, 4 * kMiB)});
    CHECK(is_ram(*result.image, 0, 4 * kMiB));
  }
}

TEST_CASE("legacy area: TSEG is hidden at the top of low RAM in each of its sizes") {
  struct Row {
    std::uint8_t smram, esmramc;
    std::uint16_t ext;
    std::uint64_t size;
  };
  for (const Row& row :
       {Row{0x0a, 0x39, 16, kMiB}, Row{0x0a, 0x3b, 16, 2 * kMiB}, Row{0x0a, 0x3f, 3, 3 * kMiB},
        Row{0x0a, 0x3f, 0, 0}, Row{0x0a, 0x38, 16, 0}, Row{0x02, 0x39, 16, 0}}) {
    CAPTURE(row.esmramc);
    const ReadResult result =
        q35({.smram = row.smram, .esmramc = row.esmramc, .ext_tseg_megabytes = row.ext});
    REQUIRE(result.error == "");
    CHECK(result.image->runs.extents().back().end().value == 4 * kMiB - row.size);
  }
}

TEST_CASE("legacy area: a TSEG larger than RAM hides all of it") {
  const ReadResult result = q35({.smram = 0x0a, .esmramc = 0x3f, .ext_tseg_megabytes = 0xfffe});
  REQUIRE(result.error == "");
  CHECK(result.image->runs.empty());
}

TEST_CASE("legacy area: a locked SMBASE hides its 128 KiB") {
  const ReadResult result = q35({.smbase = 0x02});
  REQUIRE(result.error == "");
  CHECK(result.image->runs.extents() == std::vector{guest_range(0, 0x30000),
                                                    guest_range(0x50000, 0xa0000),
                                                    guest_range(0xc0000, 4 * kMiB)});
}

TEST_CASE("legacy area: isapc has its ROMs and a VGA window only with VGA") {
  const ReadResult with = read_guest_of({.machine = "isapc", .others = roms()});
  REQUIRE(with.error == "");
  CHECK(with.image->runs.extents() == kAllButVga);
  CHECK(are_pages(*with.image, 0xc0000, kRom, 32));
  CHECK(are_pages(*with.image, 0xe0000, kBios + 32, 32));
  const ReadResult without = read_guest_of({.machine = "isapc"});
  REQUIRE(without.error == "");
  CHECK(without.image->runs.extents() == std::vector{guest_range(0, 4 * kMiB)});
}

TEST_CASE("legacy area: microvm sees its BIOS and no option ROMs") {
  const ReadResult result =
      read_guest_of({.machine = "microvm", .others = {{"pc.bios", 64 * kKiB, {}}}});
  REQUIRE(result.error == "");
  CHECK(result.image->runs.extents() == std::vector{guest_range(0, 4 * kMiB)});
  CHECK(is_ram(*result.image, 0, 0xf0000));
  CHECK(are_pages(*result.image, 0xf0000, kBios, 16));
}

}  // namespace
}  // namespace vmconvert::test
