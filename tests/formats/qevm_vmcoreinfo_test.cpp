#include "support/device_payloads.h"
#include "support/pc_stream.h"
#include "support/reading.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

const std::string kText = "OSRELEASE=6.1.0-1-amd64\nPAGESIZE=4096\nNUMBER(phys_base)=-763363328\n";

/// A guest of 2 MiB with `note` at 0x100ff0, across two pages, and this device state.
ReadResult read_with(const Bytes& note, const VmcoreinfoState& state, bool described = true) {
  Bytes memory(2 * 4096);
  std::copy(note.begin(), note.end(), memory.begin() + 0xff0);
  const auto page = [&](std::size_t i) {
    return Bytes(memory.begin() + static_cast<std::ptrdiff_t>(i * 4096),
                 memory.begin() + static_cast<std::ptrdiff_t>((i + 1) * 4096));
  };
  QevmBuilder stream = pc().ram_start({{"pc.ram", 2 * kMiB, {}}, {"vga.vram", 4 * kKiB, {}}});
  stream.ram_end(RamPayload()
                     .raw(0x100008, ByteWriter().counted_text("pc.ram").append(page(0)).bytes())
                     .raw(0x101028, page(1))
                     .eos());
  stream.device("vmcoreinfo", vmcoreinfo_state(state)).eos();
  if (described) stream.description();
  return read_bytes(stream.bytes());
}

VmcoreinfoState good() { return {.paddr = 0x100ff0}; }

TEST_CASE("vmcoreinfo: the state of the device is 17 bytes") {
  CHECK(vmcoreinfo_state(good()) == from_hex("01 00 00 00 01 00 00 10 24 00 00 00 00 00 10 0f f0"));
}

TEST_CASE("vmcoreinfo: the note that the device points at is taken to its length") {
  for (const bool described : {true, false}) {
    const ReadResult result = read_with(vmcoreinfo_note(kText), good(), described);
    REQUIRE(result.error == "");
    REQUIRE(result.image->vmcoreinfo);
    CHECK(result.image->vmcoreinfo->text == kText);
    CHECK(result.image->vmcoreinfo->origin == "vmcoreinfo device, guest address 0x100ff0");
    CHECK(result.has_decision("VMCOREINFO of " + std::to_string(kText.size()) +
                              " bytes from the vmcoreinfo device, guest address 0x100ff0"));
    CHECK(result.diagnostics->of(Diagnostics::Level::warning).empty());
  }
}

TEST_CASE("vmcoreinfo: a guest that announced none has none") {
  for (const VmcoreinfoState& state :
       {VmcoreinfoState{.has = 0, .paddr = 0x100ff0},
        VmcoreinfoState{.guest_format = 2, .paddr = 0x100ff0},
        VmcoreinfoState{.size = 23, .paddr = 0x100ff0},
        VmcoreinfoState{.size = (1U << 20) + 1, .paddr = 0x100ff0}}) {
    const ReadResult result = read_with(vmcoreinfo_note(kText), state);
    REQUIRE(result.error == "");
    CHECK(!result.image->vmcoreinfo);
    CHECK(result.has_decision(
        "no VMCOREINFO: the guest did not announce one to the vmcoreinfo device"));
  }
}

TEST_CASE("vmcoreinfo: a place outside memory is warned about") {
  for (const std::uint64_t address :
       {std::uint64_t{0xa0000}, 2 * kMiB - 4131, 3 * kMiB, ~std::uint64_t{0}}) {
    const ReadResult result = read_with(vmcoreinfo_note(kText), {.paddr = address});
    REQUIRE(result.error == "");
    CHECK(!result.image->vmcoreinfo);
    CHECK(result.diagnostics->of(Diagnostics::Level::warning) ==
          std::vector{"input: VMCOREINFO at guest address " + hex(address) +
                      " lies outside guest memory, not used"});
  }
}

TEST_CASE("vmcoreinfo: what is no such note is warned about") {
  const auto warnings = [](const Bytes& note) {
    const ReadResult result = read_with(note, good());
    REQUIRE(result.error == "");
    CHECK(!result.image->vmcoreinfo);
    return result.diagnostics->of(Diagnostics::Level::warning);
  };
  const std::string at = "input: VMCOREINFO at guest address 0x100ff0 ";
  Bytes wrong_name = vmcoreinfo_note(kText);
  wrong_name[12] = std::byte{'v'};
  CHECK(warnings(wrong_name) == std::vector{at + "is not a VMCOREINFO note, not used"});
  Bytes wrong_length = vmcoreinfo_note(kText);
  wrong_length[0] = std::byte{10};
  CHECK(warnings(wrong_length) == std::vector{at + "is not a VMCOREINFO note, not used"});
  CHECK(warnings({}) == std::vector{at + "is not a VMCOREINFO note, not used"});
  Bytes too_long = vmcoreinfo_note(kText);
  too_long[5] = std::byte{0xff};  // descsz 0xff..
  CHECK(warnings(too_long) ==
        std::vector{at + "is longer than what the guest announced, not used"});
}

TEST_CASE("vmcoreinfo: the announced size is reached and not exceeded") {
  VmcoreinfoState state = good();
  state.size = static_cast<std::uint32_t>(24 + kText.size());
  CHECK(read_with(vmcoreinfo_note(kText), state).image->vmcoreinfo->text == kText);
  --state.size;
  CHECK(!read_with(vmcoreinfo_note(kText), state).image->vmcoreinfo);
  CHECK(read_with(vmcoreinfo_note(""), {.size = 24, .paddr = 0x100ff0}).image->vmcoreinfo->text ==
        "");
}

}  // namespace
}  // namespace vmconvert::test
