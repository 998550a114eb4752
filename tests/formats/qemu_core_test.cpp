#include "all_formats.h"
#include "support/device_payloads.h"
#include "support/pc_stream.h"
#include "support/process_core_builder.h"
#include "support/reading.h"
#include "support/test.h"
#include "vmconvert/convert/choose_format.h"

namespace vmconvert::test {
namespace {

constexpr std::uint64_t kPageSize = 4096;

bool same_pages(const GuestImage& image, std::uint64_t gpa, std::uint64_t number,
                std::uint64_t count) {
  return are_pages(image, gpa, number, count);
}

/// Two NUMA nodes, of which the first is split, and what is not memory.
SampleProcess many_blocks() {
  SampleProcess process;
  process.blocks = {
      {.name = "ram-node0", .host = 0x7f0000000000, .size = 8 * kPageSize},
      {.name = "ram-node1", .host = 0x7f0000010000, .size = 4 * kPageSize},
      {.name = "0000:00:02.0/vga.vram", .host = 0x7f0000020000, .size = 2 * kPageSize},
      {.name = "pc.bios", .host = 0x7f0000030000, .size = kPageSize, .readonly = true},
      {.name = "0000:01:00.0 BAR 0 mmaps[0]",
       .host = 0x7f0000040000,
       .size = kPageSize,
       .device = true},
      {.name = "nv0", .host = 0x7f0000050000, .size = kPageSize, .nonvolatile = true},
  };
  process.ranges = {
      {0, 2 * kPageSize, 0, 0},          {0xa0000, 0x20000, SampleRange::kIo, 0},
      {0xff000, kPageSize, 3, 0},        {0x100000, 4 * kPageSize, 0, 4 * kPageSize},
      {0xe0000000, 2 * kPageSize, 2, 0}, {0xe0010000, kPageSize, 4, 0},
      {0xfffff000, kPageSize, 3, 0},     {0x100000000, 3 * kPageSize, 1, kPageSize},
      {0x200000000, kPageSize, 5, 0},
  };
  return process;
}

TEST_CASE("qemu-core: the guest's memory is found without debug information") {
  const ReadResult result = read_bytes(SampleProcess().build().bytes());
  REQUIRE(result.error == "");
  CHECK(result.image->arch == Arch::x86_64);
  CHECK(result.image->byte_order == std::endian::little);
  CHECK(result.image->runs.extents() == std::vector{guest_range(0, 8 * kPageSize)});
  CHECK(same_pages(*result.image, 0, 0, 8));
  CHECK(result.image->metadata.machine == "pc-q35-7.2");
  CHECK(result.has_decision("the process is \"/usr/bin/qemu-system-x86_64 -m 1\""));
  CHECK(
      result.has_decision("0x555500100100 of the process (from a search of the process, by the "
                          "structures of QEMU 7.0 to 10.0)"));
  CHECK(
      result.has_decision("guest architecture x86_64 (from the executable qemu-system-x86_64), "
                          "machine type pc-q35-7.2"));
  CHECK(result.has_decision("no VMCOREINFO"));
}

TEST_CASE("qemu-core: structures of older versions and of big-endian hosts are read") {
  SampleProcess older;
  older.older = true;
  const ReadResult old_result = read_bytes(older.build().bytes());
  REQUIRE(old_result.error == "");
  CHECK(old_result.has_decision("by the structures of QEMU 4.0 to 6.2"));
  CHECK(same_pages(*old_result.image, 0, 0, 8));
  SampleProcess process;
  process.executable = "/usr/bin/qemu-system-s390x";
  const ReadResult result = read_bytes(process.build(true).bytes());
  REQUIRE(result.error == "");
  CHECK(result.image->arch == Arch::s390x);
  CHECK(result.image->byte_order == std::endian::big);
  CHECK(same_pages(*result.image, 0, 0, 8));
}

TEST_CASE("qemu-core: what QEMU's own dump would hold, without video memory and ROMs") {
  const ReadResult result = read_bytes(many_blocks().build().bytes());
  REQUIRE(result.error == "");
  CHECK(result.image->runs.extents() == std::vector{guest_range(0, 0x2000),
                                                    guest_range(0xff000, 0x104000),
                                                    guest_range(0x100000000, 0x100003000)});
  CHECK(same_pages(*result.image, 0, 0, 2));
  CHECK(same_pages(*result.image, 0xff000, 300, 1));  // the guest sees the BIOS there
  CHECK(same_pages(*result.image, 0x100000, 4, 4));
  CHECK(same_pages(*result.image, 0x100000000, 101, 3));
  const auto& details = *result.diagnostics;
  CHECK(details.has(Diagnostics::Level::detail,
                    "guest 0xe0000000-0xe0002000: block 0000:00:02.0/vga.vram from 0x0 on, left "
                    "out: memory of a device"));
  CHECK(details.has(Diagnostics::Level::detail, "block pc.bios from 0x0 on, left out: a ROM"));
  CHECK(details.has(Diagnostics::Level::detail, "left out: memory of a host device"));
  CHECK(details.has(Diagnostics::Level::detail, "left out: an NVDIMM"));
}

TEST_CASE("qemu-core: metadata tells of blocks and the process") {
  const ReadResult result = read_bytes(many_blocks().build().bytes());
  REQUIRE(result.error == "");
  const Metadata& metadata = result.image->metadata;
  REQUIRE(metadata.blocks.size() == 6);
  const auto& first = metadata.blocks.front();
  CHECK(first.name == "ram-node0");
  CHECK(first.size == 8 * kPageSize);
  CHECK(first.guest == std::vector{guest_range(0, 0x2000), guest_range(0x100000, 0x104000)});
  REQUIRE(metadata.facts.size() == 2);
  CHECK(metadata.facts[0].key == "process.executable");
  CHECK(metadata.facts[0].value == "/usr/bin/qemu-system-x86_64");
  CHECK(metadata.facts[1].key == "process.command");
  CHECK(metadata.facts[1].value == "/usr/bin/qemu-system-x86_64 -m 1");
}

TEST_CASE("qemu-core: a block that the guest does not see is listed") {
  SampleProcess process;
  process.blocks.push_back({.name = "hidden", .host = 0x7f0000100000, .size = kPageSize});
  const ReadResult result = read_bytes(process.build().bytes());
  REQUIRE(result.error == "");
  REQUIRE(result.image->metadata.blocks.size() == 2);
  CHECK(result.image->metadata.blocks[1].name == "hidden");
  CHECK(result.image->metadata.blocks[1].guest.empty());
}

TEST_CASE("qemu-core: memory that spans mappings is put together") {
  SampleProcess process;
  ProcessCore core = process.build();
  CoreMapping& ram = core.mapping_at(0x7f0000000000);
  CoreMapping rest = ram;
  rest.address += 3 * kPageSize;
  rest.bytes.erase(rest.bytes.begin(), rest.bytes.begin() + 3 * kPageSize);
  ram.bytes.resize(3 * kPageSize);
  core.mappings.insert(core.mappings.begin(), rest);  // in any order
  const ReadResult result = read_bytes(core.bytes());
  REQUIRE(result.error == "");
  CHECK(same_pages(*result.image, 0, 0, 8));
}

TEST_CASE("qemu-core: an anonymous mapping that was never written to is zero") {
  SampleProcess process;
  process.blocks.push_back({.name = "dimm0", .host = 0x7f0000100000, .size = 2 * kPageSize});
  process.ranges.push_back({0x100000000, 2 * kPageSize, 1, 0});
  ProcessCore core = process.build();
  core.mapping_at(0x7f0000100000).stored = false;
  const ReadResult result = read_bytes(core.bytes());
  REQUIRE(result.error == "");
  CHECK(is_filled(*result.image, 0x100000000, 0));
  CHECK(result.image->runs.total_bytes() == 10 * kPageSize);
}

TEST_CASE("qemu-core: the architecture is told by name, host or RAM") {
  const auto arch = [](const std::string& executable, const std::string& command,
                       const std::string& block, unsigned machine) {
    SampleProcess process;
    process.executable = executable;
    process.blocks[0].name = block;
    ProcessCore core = process.build();
    core.command = command;
    core.machine = machine;
    const ReadResult result = read_bytes(core.bytes());
    return result.image ? std::string(arch_name(result.image->arch)) : result.error;
  };
  CHECK(arch("/usr/bin/qemu-system-aarch64", "", "mach-virt.ram", 62) == "aarch64");
  CHECK(arch("/usr/bin/qemu-system-i386 (deleted)", "", "pc.ram", 62) == "i386");
  CHECK(arch("/usr/bin/qemu-system-ppc64", "", "ram", 62) == "ppc64");
  CHECK(arch("/usr/bin/qemu-system-x86_64-microvm", "", "ram", 62) == "x86_64");
  CHECK(arch("/lib/x.so", "qemu-system-riscv64 -m 1", "ram", 62) == "riscv64");
  CHECK(arch("/usr/libexec/qemu-kvm", "", "ram", 183) == "aarch64");
  CHECK(arch("/usr/libexec/qemu-kvm", "", "ram", 22) == "s390x");
  CHECK(arch("/opt/emulator", "", "s390.ram", 62) == "s390x");
  CHECK(arch("/opt/emulator", "", "ppc_spapr.ram", 62) == "ppc64");
  CHECK(arch("/opt/emulator", "emulator", "ram", 62) ==
        "input: nothing in the core tells the guest's architecture: QEMU's executable has no name "
        "of the form qemu-system-ARCH");
  CHECK(arch("/usr/bin/qemu-system-arm", "", "mach-virt.ram", 62) ==
        "input: guests of \"qemu-system-arm\" are not supported");
}

TEST_CASE("qemu-core: the byte order of ppc64 is that of its interrupt vectors") {
  const auto order = [](unsigned big, unsigned little) {
    SampleProcess process;
    process.executable = "/usr/bin/qemu-system-ppc64";
    ProcessCore core = process.build();
    std::uint64_t at = 0x7f0000000000;
    core.copy(at, Bytes(3 * kPageSize));
    for (; big > 0; --big, at += 4) core.copy(at, from_hex("7d b1 43 a6"));  // mtsprg1 r13
    for (; little > 0; --little, at += 4) core.copy(at, from_hex("a6 43 b1 7d"));
    const ReadResult result = read_bytes(core.bytes());
    REQUIRE(result.error == "");
    const bool is_big = result.image->byte_order == std::endian::big;
    return std::string(is_big ? "big" : "little") +
           (result.has_decision("from its interrupt vectors") ? "" : ", unknown");
  };
  CHECK(order(20, 0) == "big");
  CHECK(order(0, 20) == "little");
  CHECK(order(20, 1) == "big, unknown");
  CHECK(order(0, 3) == "big, unknown");
}

TEST_CASE("qemu-core: VMCOREINFO is that of the vmcoreinfo device") {
  SampleProcess process;
  process.note_at = 3 * kPageSize;
  ProcessCore core = process.build();
  core.copy(0x7f0000000000 + 3 * kPageSize, vmcoreinfo_note("OSRELEASE=6.1\n"));
  const ReadResult result = read_bytes(core.bytes());
  REQUIRE(result.error == "");
  REQUIRE(result.image->vmcoreinfo);
  CHECK(result.image->vmcoreinfo->text == "OSRELEASE=6.1\n");
  CHECK(result.image->vmcoreinfo->origin ==
        "vmcoreinfo device in the process, guest address 0x3000");

  SUBCASE("not announced any more") { core.u8(process.vmcoreinfo, 0); }
  SUBCASE("no note there") { core.u8(0x7f0000000000 + 3 * kPageSize + 12, 'W'); }
  SUBCASE("longer than announced") { core.u32(0x7f0000000000 + 3 * kPageSize + 4, 5000); }
  SUBCASE("another format") { core.u16(process.vmcoreinfo + 10, 2); }
  SUBCASE("outside guest memory") { core.u64(process.vmcoreinfo + 16, 0x9000); }
  SUBCASE("not in a device of that type") { core.u64(process.vmcoreinfo - 160, 0); }
  const ReadResult without = read_bytes(core.bytes());
  REQUIRE(without.error == "");
  CHECK(!without.image->vmcoreinfo);
}

TEST_CASE("qemu-core: the probe knows cores of processes from vmcores") {
  const auto format_of = [](const ProcessCore& core) {
    const MemorySource source("input", core.bytes());
    return error_of([&] {
      const Format& format = choose_format(all_formats(), "", source);
      throw Error(ErrorKind::usage, "", std::nullopt, format.name);
    });
  };
  ProcessCore core = SampleProcess().build();
  CHECK(format_of(core) == "qemu-core");
  core.is_64 = false;
  CHECK(format_of(core) == "qemu-core");
  core.is_64 = true;
  core.mappings[1].physical = 4096;
  CHECK(format_of(core) != "qemu-core");
  core.mappings[1].physical = 0;
  core.type = 2;
  CHECK(format_of(core) != "qemu-core");
  core.type = 4;
  for (CoreMapping& mapping : core.mappings) mapping.address |= std::uint64_t{0xffff} << 48;
  CHECK(format_of(core) != "qemu-core");
}

}  // namespace
}  // namespace vmconvert::test
