#include <filesystem>
#include <functional>

#include "support/image_bytes.h"
#include "support/process_core_builder.h"
#include "support/reading.h"
#include "support/scratch_folder.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

constexpr std::uint64_t kRam = 0x7f0000000000;
constexpr std::uint64_t kPageSize = 4096;
constexpr const char* kNone =
    "input: no address space \"memory\" with a convincing memory map was found in the process";
constexpr const char* kAdvice = " (give --executable or --debug-file of just this QEMU)";

std::string error_with(const std::function<void(SampleProcess&, ProcessCore&)>& change) {
  SampleProcess process;
  ProcessCore core = process.build();
  change(process, core);
  return read_bytes(core.bytes()).error;
}

/// The reason that is given when no map convinces.
std::string doubt(const std::function<void(SampleProcess&, ProcessCore&)>& change) {
  std::string text = error_with(change);
  const std::string begin = std::string(kNone) + ": ";
  if (!text.starts_with(begin) || !text.ends_with(kAdvice)) return text;
  return text.substr(begin.size(), text.size() - begin.size() - std::string_view(kAdvice).size());
}

TEST_CASE("qemu-core: a process without the structures is refused") {
  CHECK(error_with([](auto& process, auto& core) { core.u8(process.name, 'M'); }) ==
        std::string(kNone) + kAdvice);
}

TEST_CASE("qemu-core: structures that do not agree are not believed") {
  using P = SampleProcess;
  using C = ProcessCore;
  const auto at = [](P& p, std::size_t range, std::uint64_t offset) {
    return p.first_range + 64 * range + offset;
  };
  CHECK(doubt([](P& p, C& c) { c.u64(p.address_space + 32, 0); }) ==
        "current_map is a null pointer");
  CHECK(doubt([](P& p, C& c) { c.u64(p.address_space + 32, 0x1234); }) ==
        "FlatView.ranges at 0x1234 is not in the core");
  CHECK(doubt([](P& p, C& c) { c.u32(p.view + 32, 0); }) == "FlatView.nr is 0");
  CHECK(doubt([](P& p, C& c) { c.u32(p.view + 32, 0xffffffff); }) == "FlatView.nr is 4294967295");
  CHECK(doubt([](P& p, C& c) { c.u64(p.view + 24, 0x1000); }) ==
        "FlatRange.addr.start at 0x1000 is not in the core");
  CHECK(doubt([](P& p, C& c) {
          c.u64(p.view + 24, ~std::uint64_t{0} - 8);
        }).starts_with("FlatRange.addr.start at 0xfff"));
  CHECK(doubt([&](P& p, C& c) { c.u128(at(p, 0, 32), 0); }) ==
        "FlatRange 0 is empty or lies nowhere");
  CHECK(doubt([&](P& p, C& c) { c.u128(at(p, 1, 16), 0x7000); }) ==
        "FlatRange 1 overlaps the one before it");
  CHECK(doubt([&](P& p, C& c) { c.u128(at(p, 1, 16), 0, 7); }) ==
        "FlatRange.addr.start is no address");
  CHECK(doubt([&](P& p, C& c) { c.u128(at(p, 1, 32), 0, 1); }) == "FlatRange 1 wraps around");
  CHECK(doubt([&](P& p, C& c) { c.u64(at(p, 0, 0), 0); }) == "FlatRange.mr is a null pointer");
  CHECK(doubt([&](P& p, C& c) { c.u64(at(p, 0, 8), kPageSize); }) ==
        "FlatRange 0 reaches beyond its region or block");
  CHECK(doubt([&](P& p, C& c) { c.u64(at(p, 0, 8), ~std::uint64_t{0}); }) ==
        "FlatRange 0 reaches beyond its region or block");
  CHECK(doubt([](P& p, C& c) { c.u8(p.region_at[0] + 41, 2); }) ==
        "MemoryRegion.ram is no truth value");
  CHECK(doubt([](P& p, C& c) { c.u8(p.region_at[0] + 41, 0); }) == "its memory map holds no RAM");
  CHECK(doubt([](P& p, C& c) { c.u8(p.region_at[0] + 152, 0); }) ==
        "FlatRange 0 is of a region that does not terminate");
  CHECK(doubt([](P& p, C& c) { c.u64(p.region_at[0] + 56, 0); }) ==
        "MemoryRegion.ram_block is a null pointer");
  const std::string block = "0x55551000";
  CHECK(doubt([](P& p, C& c) {
          c.u64(p.block_at[0] + 16, p.block_at[0]);
        }).starts_with("RAMBlock.mr at " + block));
  CHECK(doubt([](P& p, C& c) {
          c.u64(p.block_at[0] + 24, kRam + 8);
        }).ends_with("has no usable place or size"));
  CHECK(doubt([](P& p, C& c) {
          c.u64(p.block_at[0] + 48, 9 * kPageSize);
        }).ends_with("has no usable place or size"));
  CHECK(doubt([](P& p, C& c) {
          c.u64(p.block_at[0] + 24, ~std::uint64_t{4095});
        }).ends_with("has no usable place or size"));
  CHECK(doubt([](P& p, C& c) { c.u8(p.block_at[0] + 76, 7); }).ends_with("is no name"));
}

TEST_CASE("qemu-core: blocks that share memory, or hold the structures, are not believed") {
  SampleProcess process;
  process.blocks.push_back({.name = "dimm0", .host = 0x7f0000100000, .size = kPageSize});
  process.ranges.push_back({0x100000000, kPageSize, 1, 0});
  ProcessCore core = process.build();
  core.u64(process.block_at[1] + 24, kRam + kPageSize);
  CHECK(read_bytes(core.bytes()).error ==
        std::string(kNone) + ": RAM blocks \"pc.ram\" and \"dimm0\" lie in the same memory" +
            kAdvice);
  CHECK(doubt([](SampleProcess& p, ProcessCore& c) {
          c.u64(p.block_at[0] + 24, p.view / kPageSize * kPageSize);
        }).ends_with("lies in guest memory"));
}

TEST_CASE("qemu-core: a list of blocks that leads back to itself ends") {
  SampleProcess process;
  process.blocks.push_back({.name = "dimm0", .host = 0x7f0000100000, .size = kPageSize});
  ProcessCore core = process.build();
  core.u64(process.block_at[1] + 336, process.block_at[0]);
  const ReadResult result = read_bytes(core.bytes());
  CHECK(result.error == "");
  CHECK(result.image->metadata.blocks.size() == 2);
  core.u64(process.block_at[0] + 336, process.block_at[0]);
  CHECK(read_bytes(core.bytes()).error == "");
}

TEST_CASE("qemu-core: two convincing maps are one too many, unless one is in guest memory") {
  SampleProcess process;
  ProcessCore core = process.build();
  // A second address space "memory", with a view of its own that has one range less.
  const auto add_second = [&](std::uint64_t at) {
    core.u64(at + 16, process.name);
    core.u64(at + 24, process.name);
    core.u64(at + 32, at + 64);
    core.u64(at + 64 + 24, at + 128);
    core.u32(at + 64 + 32, 1);
    core.u64(at + 128, process.region_at[0]);
    core.u128(at + 128 + 16, 0x1000);
    core.u128(at + 128 + 32, kPageSize);
  };
  add_second(process.address_space + 0x200);
  CHECK(read_bytes(core.bytes()).error ==
        std::string("input: the process holds several address spaces \"memory\" that could be the "
                    "guest's") +
            kAdvice);
  SampleProcess other;
  core = other.build();
  process = other;
  add_second(kRam + 3 * kPageSize);
  const ReadResult result = read_bytes(core.bytes());
  REQUIRE(result.error == "");
  CHECK(result.image->runs.extents() == std::vector{guest_range(0, 8 * kPageSize)});
}

TEST_CASE("qemu-core: memory that the core leaves out is refused with the reason") {
  const auto without_ram = [](const std::function<void(SampleProcess&, ProcessCore&)>& change) {
    return error_with([&](SampleProcess& p, ProcessCore& c) {
      c.mapping_at(kRam).stored = false;
      change(p, c);
    });
  };
  const std::string block = "input: memory block \"pc.ram\" of 32 KiB is not in the core: ";
  const std::string unknown =
      "the core leaves it out, and nothing tells whether the guest used it "
      "(dump-guest-core=off, or /proc/PID/coredump_filter)";
  CHECK(without_ram([](auto& p, auto& c) { c.u8(p.owner_at[0] + 49, 0); }) ==
        block +
            "QEMU kept it out of the core (machine option dump-guest-core=off, or dump=off of its "
            "memory backend)");
  CHECK(without_ram([](auto&, auto& c) { c.mapping_at(kRam).file = "/dev/shm/ram"; }) ==
        block +
            "it is the file \"/dev/shm/ram\", which the core leaves out "
            "(/proc/PID/coredump_filter)");
  CHECK(without_ram([](auto&, auto& c) { c.file_note = false; }) == block + unknown);
  CHECK(without_ram([](auto&, auto& c) { c.mapping_at(kRam).writable = false; }) ==
        block + unknown);
  CHECK(without_ram([](auto& p, auto& c) { c.u64(p.region_at[0] + 64, 0); }) == block + unknown);
  CHECK(without_ram([](auto& p, auto& c) { c.u64(p.owner_at[0] + 40, 5); }) == block + unknown);
  // gcore has no mapping at all then.
  CHECK(without_ram([](auto&, auto& c) { c.mappings.pop_back(); }) == block + unknown);
}

TEST_CASE("qemu-core: what is left out is listed under salvage") {
  SampleProcess process;
  process.blocks.push_back(
      {.name = "dimm0", .host = 0x7f0000100000, .size = 2 * kPageSize, .dump = false});
  process.ranges.push_back({0x100000000, kPageSize, 1, 0});
  process.ranges.push_back({0x100001000, kPageSize, 1, kPageSize});
  ProcessCore core = process.build();
  core.mapping_at(0x7f0000100000).stored = false;
  CHECK(read_bytes(core.bytes()).kind == ErrorKind::unsupported);
  const ReadResult result = read_bytes(core.bytes(), {.salvage = true});
  REQUIRE(result.error == "");
  CHECK(result.image->runs.extents() == std::vector{guest_range(0, 8 * kPageSize)});
  CHECK(result.has_loss("memory block \"dimm0\" of 8 KiB is not in the core: QEMU kept it out"));
  CHECK(result.has_loss("no content for 8 KiB of guest memory, left out: 0x100000000-0x100002000"));
}

TEST_CASE("qemu-core: a core that is cut off is refused, and salvaged page by page") {
  Bytes bytes = SampleProcess().build().bytes();
  bytes.resize(bytes.size() - 2 * kPageSize - 100);
  const ReadResult refused = read_bytes(bytes);
  CHECK(refused.error == "input: offset " + hex(bytes.size()) +
                             ": the core is cut off: 31.2 KiB of 39.3 KiB are there (limits of "
                             "systemd-coredump, ulimit -c)");
  CHECK(refused.kind == ErrorKind::corrupt);
  const ReadResult result = read_bytes(bytes, {.salvage = true});
  REQUIRE(result.error == "");
  CHECK(result.image->runs.extents() == std::vector{guest_range(0, 5 * kPageSize)});
  CHECK(result.has_loss("the core is cut off: "));
  CHECK(result.has_loss("\"pc.ram\" of 32 KiB is not in the core: the core is cut off before it"));
  CHECK(result.has_loss("no content for 12 KiB of guest memory, left out: 0x5000-0x8000"));
}

TEST_CASE("qemu-core: mappings and notes that break their rules are corrupt") {
  CHECK(error_with([](auto&, auto& c) {
          c.mappings.push_back({.address = kRam + kPageSize, .bytes = Bytes(kPageSize)});
        }) == "input: the mapping at 0x7f0000001000 overlaps the one before it");
  CHECK(error_with([](auto&, auto& c) {
          c.mappings.push_back({.address = ~std::uint64_t{4095}, .bytes = Bytes(2 * kPageSize)});
        }) == "input: the mapping at 0xfffffffffffff000 reaches beyond 64 bits");
  CHECK(error_with([](auto&, auto& c) { c.is_64 = false; }) ==
        "input: cores of a 32-bit QEMU are not supported");
  CHECK(error_with([](auto&, auto& c) {
          c.more_files = 1;
        }).ends_with(": offset of a mapped file is too large"));
  CHECK(error_with([](auto&, auto& c) {
          c.more_files = 1'000'000;
        }).ends_with(": count of mapped files is more than the note can hold"));
}

TEST_CASE("qemu-core: files of the user that do not help are refused by name") {
  const ScratchFolder folder;
  const std::string text = folder.path("text");
  write_file(text, Bytes(100, std::byte{'x'}));
  const auto error = [](const ReadOptions& options) {
    return read_bytes(SampleProcess().build().bytes(), options).error;
  };
  CHECK(error({.debug_file = folder.path("none")}) ==
        folder.path("none") + ": open: No such file or directory");
  CHECK(error({.debug_file = text}) == text + ": holds no debug information");
  CHECK(error({.executable = folder.path("none")}) ==
        folder.path("none") + ": open: No such file or directory");
  CHECK(error({.executable = text}) == text + ": offset 0x0: is no ELF file");
}

TEST_CASE(
    "qemu-core: an installed debug file is found by build ID, and one that is bad does no harm") {
  SampleProcess process;
  ProcessCore core = process.build();
  CoreMapping& program = core.mappings.front();
  program.bytes = ByteWriter()
                      .text(
                          "\x7f"
                          "ELF")
                      .u8(2)
                      .u8(1)
                      .u8(1)
                      .fill(9)
                      .le16(3)
                      .le16(62)
                      .le32(1)
                      .le64(0)
                      .le64(64)
                      .le64(0)
                      .le32(0)
                      .le16(64)
                      .le16(56)
                      .le16(1)
                      .fill(6)
                      .le32(4)
                      .le32(4)
                      .le64(120)
                      .le64(120)
                      .le64(0)
                      .le64(20)
                      .le64(20)
                      .le64(4)
                      .le32(4)
                      .le32(4)
                      .le32(3)
                      .text("GNU")
                      .u8(0)
                      .u8(0xab)
                      .u8(1)
                      .u8(2)
                      .u8(0xef)
                      .bytes();
  program.bytes.resize(kPageSize);
  const ScratchFolder folder;
  std::filesystem::create_directories(folder.path(".build-id/ab"));
  const std::string file = folder.path(".build-id/ab/0102ef.debug");
  const ReadOptions options{.debug_root = folder.path("")};
  CHECK(read_bytes(core.bytes(), options).has_decision("from a search"));
  write_file(file, Bytes(100, std::byte{'x'}));
  const ReadResult result = read_bytes(core.bytes(), options);
  CHECK(result.error == "");
  CHECK(result.has_decision("not used: "));
  CHECK(result.has_decision(".build-id/ab/0102ef.debug: holds no debug information"));
  CHECK(result.has_decision("from a search"));
}

}  // namespace
}  // namespace vmconvert::test
