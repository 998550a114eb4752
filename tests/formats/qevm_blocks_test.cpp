#include "support/device_payloads.h"
#include "support/pc_stream.h"
#include "support/reading.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

/// A stream with these blocks, whose first page is page_of(index of the block), and maybe a CMOS.
ReadResult read_blocks(const std::vector<BlockEntry>& blocks, std::uint64_t cmos_ram = 0,
                       const ReadOptions& options = {}) {
  QevmBuilder stream = pc("pc-i440fx-7.2").ram_start(blocks);
  RamPayload payload;
  for (std::size_t i = 0; i < blocks.size(); ++i) payload.page(blocks[i].name, 0, i);
  stream.ram_end(payload.eos());
  if (cmos_ram != 0) stream.device("mc146818rtc", rtc_state(cmos_ram, 0), {.version = 3});
  return read_bytes(stream.eos().description().bytes(), options);
}

/// One of these sizes per block.
std::vector<BlockEntry> named(const std::vector<std::string>& names, std::uint64_t size) {
  std::vector<BlockEntry> blocks;
  for (const std::string& name : names) blocks.push_back({name, size, {}});
  return blocks;
}

TEST_CASE("blocks: firmware and video memory are not guest memory") {
  const ReadResult result = read_blocks({{"0000:00:02.0/vga.vram", 16 * kMiB, {}},
                                         {"pc.ram", 4 * kMiB, {}},
                                         {"0000:00:02.0/qxl.vgavram", kMiB, {}},
                                         {"0000:00:02.0/bochs-display-vram", kMiB, {}},
                                         {"system.flash0", 4 * kMiB, {}},
                                         {"pc.bios", 256 * kKiB, {}},
                                         {"pc.rom", 128 * kKiB, {}},
                                         {"/rom@etc/acpi/tables", 128 * kKiB, {}},
                                         {"/rom@etc/acpi/rsdp", 4096, {}},
                                         {"0000:00:03.0/virtio-net-pci.rom", 256 * kKiB, {}}});
  REQUIRE(result.error == "");
  CHECK(result.image->runs.extents() ==
        std::vector{guest_range(0, 0xa0000), guest_range(0xc0000, 4 * kMiB)});
  CHECK(is_page(*result.image, 0, 1));
}

TEST_CASE("blocks: NUMA nodes follow each other in the order of their numbers") {
  std::vector<std::string> names;
  for (int i = 10; i >= 0; --i) names.push_back("ram-node" + std::to_string(i));
  const ReadResult result = read_blocks(named(names, 2 * kMiB));
  REQUIRE(result.error == "");
  for (std::uint64_t node = 0; node <= 10; ++node) {
    CHECK(is_page(*result.image, node * 2 * kMiB, 10 - node));
  }
  CHECK(result.image->runs.extents().back().end().value == 22 * kMiB);
}

TEST_CASE("blocks: NUMA nodes may have the path that old machine types give them") {
  const ReadResult result =
      read_blocks(named({"/objects/ram-node1", "/objects/ram-node0"}, 2 * kMiB));
  REQUIRE(result.error == "");
  CHECK(is_page(*result.image, 0, 1));
  CHECK(is_page(*result.image, 2 * kMiB, 0));
}

TEST_CASE("blocks: backends of any name are main RAM if they add up to what the CMOS says") {
  const ReadResult result = read_blocks(named({"mem2", "mem10", "mem1"}, 8 * kMiB), 24 * kMiB);
  REQUIRE(result.error == "");
  CHECK(is_page(*result.image, 0, 2));
  CHECK(is_page(*result.image, 8 * kMiB, 0));
  CHECK(is_page(*result.image, 16 * kMiB, 1));
}

TEST_CASE(
    "blocks: one backend of the size that the CMOS says is main RAM and the rest is plugged") {
  const ReadResult result =
      read_blocks({{"plugged", 64 * kMiB, {}}, {"main", 32 * kMiB, {}}}, 32 * kMiB);
  REQUIRE(result.error == "");
  CHECK(is_page(*result.image, 0, 1));
  CHECK(is_page(*result.image, 4 * kGiB, 0));
}

TEST_CASE("blocks: a single backend is main RAM whatever its name") {
  const ReadResult result =
      read_blocks({{"/objects/my memory", 2 * kMiB, {}}, {"vga.vram", 2 * kMiB, {}}});
  REQUIRE(result.error == "");
  CHECK(is_page(*result.image, 0, 0));
}

TEST_CASE("blocks: backends that nothing tells apart are named") {
  const std::string message =
      "input: cannot tell which memory blocks are main RAM; candidates: a (8 MiB), "
      "\"b\\x0a\" (8 MiB)";
  CHECK(read_blocks(named({"a", "b\n"}, 8 * kMiB)).error == message);
  CHECK(read_blocks(named({"a", "b\n"}, 8 * kMiB), 32 * kMiB).error == message);
  // Two of the right size are as bad as none.
  CHECK(read_blocks(named({"a", "b\n"}, 8 * kMiB), 8 * kMiB).error == message);
}

TEST_CASE("blocks: a stream of video memory alone has no main RAM") {
  CHECK(read_blocks({{"vga.vram", kMiB, {}}}).error ==
        "input: cannot tell which memory blocks are main RAM; candidates: none");
}

TEST_CASE("blocks: shared memory that is not in the stream is refused") {
  const Bytes address = ByteWriter().be64(0).bytes();
  QevmBuilder stream = pc().capabilities({"x-ignore-shared"});
  stream.ram_start({{"pc.ram", 2 * kMiB, address}, {"vga.vram", kMiB, address}});
  stream.ram_end(RamPayload().zero("vga.vram", 0).eos()).eos();
  const ReadResult result = read_bytes(stream.bytes());
  CHECK(result.kind == ErrorKind::unsupported);
  CHECK(result.error ==
        "input: the content of memory block \"pc.ram\" is not in the stream but in the shared file "
        "behind it (capability x-ignore-shared)");
}

TEST_CASE("blocks: memory that is not shared is read although the capability is on") {
  const Bytes address = ByteWriter().be64(0x1000).bytes();
  QevmBuilder stream = pc().capabilities({"x-ignore-shared"});
  stream.ram_start({{"vga.vram", kMiB, address}, {"pc.ram", 2 * kMiB, address}});
  stream.ram_end(RamPayload().page("pc.ram", 0, 4).eos()).eos();
  const ReadResult result = read_bytes(stream.bytes());
  REQUIRE(result.error == "");
  CHECK(is_page(*result.image, 0, 4));
}

}  // namespace
}  // namespace vmconvert::test
