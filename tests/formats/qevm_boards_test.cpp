#include <algorithm>

#include "support/described_state.h"
#include "support/device_payloads.h"
#include "support/pc_stream.h"
#include "support/reading.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

/// A stream of these blocks, of which each first page is page_of(index), and of these CPUs.
ReadResult read_board(std::string_view machine, const std::vector<BlockEntry>& blocks,
                      const DescribedState* cpu = nullptr, const ReadOptions& options = {},
                      const Bytes& vmcoreinfo = {}) {
  QevmBuilder stream = pc(machine).ram_start(blocks);
  RamPayload payload;
  for (std::size_t i = 0; i < blocks.size(); ++i) payload.page(blocks[i].name, 0, i);
  stream.ram_end(payload.eos());
  if (cpu != nullptr) stream.device("cpu", cpu->bytes(), cpu->options(0, 1));
  if (!vmcoreinfo.empty()) stream.device("vmcoreinfo", vmcoreinfo);
  return read_bytes(stream.eos().description().bytes(), options);
}

std::vector<GuestRange> extents(const ReadResult& result) {
  REQUIRE(result.error == "");
  return result.image->runs.extents();
}

TEST_CASE("boards: RAM lies where each of them has it") {
  struct Row {
    std::string_view machine, block;
    std::uint64_t at;
    Arch arch;
    std::endian order;
  };
  constexpr auto kLittle = std::endian::little, kBig = std::endian::big;
  for (const Row& row : {
           Row{"virt-7.2", "mach-virt.ram", 0x40000000, Arch::aarch64, kLittle},
           Row{"virt-rhel9.4.0", "mach-virt.ram", 0x40000000, Arch::aarch64, kLittle},
           Row{"sbsa-ref", "sbsa-ref.ram", 0x10000000000, Arch::aarch64, kLittle},
           Row{"s390-ccw-virtio-10.0", "s390.ram", 0, Arch::s390x, kBig},
           Row{"pseries-7.2", "ppc_spapr.ram", 0, Arch::ppc64, kLittle},
           Row{"pseries-noble", "ppc_spapr.ram", 0, Arch::ppc64, kLittle},
           Row{"powernv8", "pnv.ram", 0, Arch::ppc64, kLittle},
           Row{"powernv9", "pnv.ram", 0, Arch::ppc64, kLittle},
           Row{"powernv10", "pnv.ram", 0, Arch::ppc64, kLittle},
           Row{"virt", "riscv_virt_board.ram", 0x80000000, Arch::riscv64, kLittle},
           Row{"", "ppc_spapr.ram", 0, Arch::ppc64, kLittle},
       }) {
    CAPTURE(row.machine);
    const ReadResult result = read_board(row.machine, {{std::string(row.block), 64 * kMiB, {}}});
    CHECK(extents(result) == std::vector{GuestRange::sized({row.at}, 64 * kMiB)});
    CHECK(is_page(*result.image, row.at, 0));
    CHECK(result.image->arch == row.arch);
    CHECK(result.image->byte_order == row.order);
  }
}

TEST_CASE("boards: what the CPUs are tells machines of one name apart") {
  const std::vector<BlockEntry> ram{{"mem", kMiB, {}}};
  const DescribedState arm = aarch64_state(0), riscv = riscv64_state(0);
  CHECK(extents(read_board("virt", ram, &arm)).front().begin().value == 0x40000000);
  CHECK(extents(read_board("virt", ram, &riscv)).front().begin().value == 0x80000000);
  CHECK(
      read_board("virt", ram).error ==
      "input: machine type \"virt\" is not supported; if you know it, say where its RAM lies with "
      "--block NAME=ADDRESS; it has mem (1 MiB)");
}

TEST_CASE("boards: flash, ROMs and secure memory are not guest memory") {
  const DescribedState arm = aarch64_state(0);
  const ReadResult result = read_board("virt-7.2",
                                       {{"virt.flash0", 64 * kMiB, {}},
                                        {"virt.flash1", 64 * kMiB, {}},
                                        {"ram-node1", 2 * kMiB, {}},
                                        {"ram-node0", kMiB, {}},
                                        {"virt.secure-ram", 16 * kMiB, {}},
                                        {"mach-virt.tag", 16 * kMiB, {}},
                                        {"/rom@etc/acpi/tables", 128 * kKiB, {}}},
                                       &arm);
  CHECK(extents(result) == std::vector{GuestRange::sized({0x40000000}, 3 * kMiB)});
  CHECK(is_page(*result.image, 0x40000000, 3));
  CHECK(is_page(*result.image, 0x40000000 + kMiB, 2));
  const ReadResult sbsa = read_board(
      "sbsa-ref",
      {{"sbsa-ref.ram", kMiB, {}}, {"sbsa.flash0", kMiB, {}}, {"sbsa-ref.secure-ram", kMiB, {}}});
  CHECK(extents(sbsa) == std::vector{GuestRange::sized({0x10000000000}, kMiB)});
}

TEST_CASE("boards: DIMMs lie behind RAM where the board has them") {
  const BlockEntry dimm{"dimm0", 256 * kMiB, {}};
  const ReadResult arm = read_board("virt-7.2", {{"mach-virt.ram", 320 * kMiB, {}}, dimm});
  CHECK(extents(arm).back() == GuestRange::sized({0x80000000}, 256 * kMiB));
  CHECK(is_page(*arm.image, 0x80000000, 1));
  CHECK(
      arm.has_warning("memory block dimm0 is placed at 0x80000000 by rule, as the stream does "
                      "not tell (--block NAME=ADDRESS overrides)"));
  const ReadResult ppc = read_board("pseries-7.2", {{"ppc_spapr.ram", 512 * kMiB, {}}, dimm});
  CHECK(extents(ppc).back() == GuestRange::sized({0x40000000}, 256 * kMiB));
  const ReadResult refused = read_board("sbsa-ref", {{"sbsa-ref.ram", kMiB, {}}, dimm});
  CHECK(refused.error ==
        "input: memory block \"dimm0\" of 256 MiB: the stream does not tell its guest address "
        "(give it with --block NAME=ADDRESS)");
  const ReadResult told = read_board("sbsa-ref", {{"sbsa-ref.ram", kMiB, {}}, dimm}, nullptr,
                                     {.block_addresses = {{"dimm0", {0x20000000000}}}});
  CHECK(extents(told).back() == GuestRange::sized({0x20000000000}, 256 * kMiB));
}

TEST_CASE("boards: of a machine that is not known, the user says where RAM lies") {
  const DescribedState arm = aarch64_state(0);
  const std::vector<BlockEntry> blocks{{"ram", 2 * kMiB, {}}, {"boot.rom", kMiB, {}}};
  const ReadOptions told{.block_addresses = {{"ram", {0x8000000}}}};
  const ReadResult result = read_board("raspi3b", blocks, &arm, told);
  CHECK(extents(result) == std::vector{GuestRange::sized({0x8000000}, 2 * kMiB)});
  CHECK(result.image->arch == Arch::aarch64);
  CHECK(result.image->vcpus.size() == 1);
  CHECK(read_board("raspi3b", blocks, &arm).error ==
        "input: machine type \"raspi3b\" is not supported; if you know it, say where its RAM lies "
        "with --block NAME=ADDRESS; it has ram (2 MiB), boot.rom (1 MiB)");
  CHECK(read_board("raspi3b", blocks, nullptr, told).error ==
        "input: machine type \"raspi3b\" is not supported, and what its CPUs are is not described");
}

TEST_CASE("boards: --below-4g is for PCs") {
  const ReadResult result =
      read_board("virt-7.2", {{"mach-virt.ram", kMiB, {}}}, nullptr, {.below_4g = kMiB});
  CHECK(result.kind == ErrorKind::usage);
  CHECK(result.error == "input: --below-4g is for x86 PCs; this is a machine of type \"virt-7.2\"");
}

/// A note's header in big-endian order, then the same text.
Bytes big_endian(Bytes note) {
  for (std::size_t word = 0; word < 3; ++word) {
    std::reverse(note.begin() + static_cast<std::ptrdiff_t>(4 * word),
                 note.begin() + static_cast<std::ptrdiff_t>(4 * word + 4));
  }
  return note;
}

TEST_CASE("boards: VMCOREINFO in the guest's byte order, by a host of either") {
  const std::string text = "OSRELEASE=6.1.0\n";
  for (const bool big_guest : {false, true}) {
    for (const bool big_host : {false, true}) {
      CAPTURE(big_guest);
      CAPTURE(big_host);
      const DescribedState cpu = aarch64_state(0, 0x3c5, big_guest ? 1U << 25 : 0);
      Bytes page = big_guest ? big_endian(vmcoreinfo_note(text)) : vmcoreinfo_note(text);
      page.resize(4096);
      VmcoreinfoState state{.size = 64, .paddr = 0x40000000};
      if (big_host) {
        state = {.guest_format = 0x100, .size = 64U << 24, .paddr = std::uint64_t{0x40} << 32};
      }
      QevmBuilder stream = pc("virt-7.2").ram_start({{"mach-virt.ram", 4096, {}}});
      stream.ram_end(RamPayload()
                         .raw(0x08, ByteWriter().counted_text("mach-virt.ram").append(page).bytes())
                         .eos());
      stream.device("cpu", cpu.bytes(), cpu.options(0, 22));
      stream.device("vmcoreinfo", vmcoreinfo_state(state)).eos().description();
      const ReadResult result = read_bytes(stream.bytes());
      REQUIRE(result.error == "");
      REQUIRE(result.image->vmcoreinfo);
      CHECK(result.image->vmcoreinfo->text == text);
    }
  }
}

}  // namespace
}  // namespace vmconvert::test
