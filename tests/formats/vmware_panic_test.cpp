#include "support/compress.h"
#include "support/image_bytes.h"
#include "support/memory_folder.h"
#include "support/panic_builder.h"
#include "support/qevm_builder.h"
#include "support/scratch_folder.h"
#include "support/test.h"
#include "vmware/vmware_reader.h"

namespace vmconvert::test {
namespace {

Bytes memory(std::size_t pages) { return page_of(3, pages * 4096); }

ReadResult read_panic(const PanicFile& file, const Bytes& vmem, const ReadOptions& options = {},
                      const std::string& name = "debug.guest") {
  return read_in_folder({{"debug.guest", file.bytes()}, {"debug.vmem", vmem}}, name, options);
}

Bytes slice(const Bytes& bytes, std::size_t page, std::size_t count) {
  const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(page * 4096);
  return Bytes(begin, begin + static_cast<std::ptrdiff_t>(count * 4096));
}

void check_registers(const Vcpu& vcpu, unsigned c) {
  const auto& r = std::get<X86Registers>(vcpu);
  const auto value = [&](unsigned number) { return panic_register(c, number); };
  CHECK(r.r8_to_r15[7] == value(0));
  CHECK(r.r8_to_r15[4] == value(3));
  CHECK(r.rbp == value(4));
  CHECK(r.rbx == value(5));
  CHECK(r.r8_to_r15[3] == value(6));
  CHECK(r.r8_to_r15[0] == value(9));
  CHECK(r.rax == value(10));
  CHECK(r.rdi == value(14));
  CHECK(r.rip == value(16));
  CHECK(r.cs.selector == (value(17) & 0xffff));
  CHECK(r.rflags == value(18));
  CHECK(r.rsp == value(19));
  CHECK(r.ss.selector == (value(20) & 0xffff));
  CHECK(r.fs.base == value(21));
  CHECK(r.gs.base == value(22));
  CHECK(r.ds.selector == (value(23) & 0xffff));
  CHECK(r.gs.selector == (value(26) & 0xffff));
  CHECK(r.cr0 == 0x80050033);
  CHECK(r.cr2 == 0x1000 + c);
  CHECK(r.cr3 == 0x2000 + c);
  CHECK(r.cr4 == 0x3000 + c);
  CHECK(r.idt.base == 0xfffffe0000000000 + c);
  CHECK(r.long_mode);
}

TEST_CASE("vmware panic dump: every version, with and without holes") {
  for (const unsigned version : {1U, 3U, 4U, 5U, 6U, 7U}) {
    CAPTURE(version);
    for (std::size_t holes = 0; holes <= 2; ++holes) {
      PanicFile file{.version = version, .pages = 8, .vcpus = 3};
      if (holes > 0) file.holes.emplace_back(2, 3);
      if (holes > 1) file.holes.emplace_back(6, 0x1000);
      for (const char* name : {"debug.guest", "debug.vmem"}) {
        const ReadResult result = read_panic(file, memory(8), {}, name);
        REQUIRE(result.error == "");
        const GuestImage& image = *result.image;
        CHECK(image.runs.total_bytes() == 8 * 4096);
        CHECK(guest_bytes(image, 0, 8192) == slice(memory(8), 0, 2));
        if (holes == 0) CHECK(guest_bytes(image, 8192, 6 * 4096) == slice(memory(8), 2, 6));
        if (holes == 1) CHECK(guest_bytes(image, 5 * 4096, 6 * 4096) == slice(memory(8), 2, 6));
        if (holes == 2) {
          CHECK(guest_bytes(image, 5 * 4096, 4096) == slice(memory(8), 2, 1));
          CHECK(guest_bytes(image, 0x1006 * 4096, 5 * 4096) == slice(memory(8), 3, 5));
        }
        REQUIRE(image.vcpus.size() == 3);
        for (unsigned c = 0; c < 3; ++c) check_registers(image.vcpus[c], c);
      }
    }
  }
}

TEST_CASE("vmware panic dump: states that lie apart are found by what makes sense") {
  const ReadResult result = read_panic({.vcpus = 3, .apart = true}, memory(4));
  REQUIRE(result.error == "");
  for (unsigned c = 0; c < 3; ++c) check_registers(result.image->vcpus.at(c), c);
  CHECK(result.has_decision("states of vCPUs lie apart, as only then they make sense"));
}

TEST_CASE("vmware panic dump: compressed as a whole") {
  const ScratchFolder scratch;
  write_file(scratch.path("debug.guest.gz"), compress(Codec::gzip, PanicFile().bytes()));
  write_file(scratch.path("debug.vmem.gz"), compress(Codec::gzip, memory(4)));
  for (const char* name : {"debug.guest.gz", "debug.vmem.gz"}) {
    CollectingDiagnostics diagnostics;
    const Input input = Input::open(scratch.path(name), false, diagnostics);
    const ReadResult result = read_source(input.source(), {}, neighbours_of(scratch.path(name)));
    REQUIRE(result.error == "");
    CHECK(guest_bytes(*result.image, 0, 4 * 4096) == memory(4));
    CHECK(result.image->vcpus.size() == 1);
  }
}

TEST_CASE("vmware panic dump: numbers that do not agree are refused") {
  const auto error = [](const PanicFile& file) { return read_panic(file, memory(4)).error; };
  CHECK(error({.version = 2}) == "debug.guest: offset 0x0: version 2 is not known");
  CHECK(error({.version = 8}) == "debug.guest: offset 0x0: version 8 is not known");
  CHECK(error({.vcpus = 0}) == "debug.guest: offset 0x4: number of vCPUs is 0");
  CHECK(error({.vcpus = 9000}) == "debug.guest: offset 0x4: number of vCPUs is 9000");
  CHECK(error({.last = 4095}) ==
        "debug.guest: last address 0xfff does not fit 4 pages and 0 holes");
  CHECK(error({.pages = 0, .last = 0}) ==
        "debug.guest: last address 0x0 does not fit 0 pages and 0 holes");
  CHECK(error({.pages = ~std::uint64_t{0}, .last = ~std::uint64_t{4096}}) ==
        "debug.guest: last address 0xffffffffffffefff does not fit 18446744073709551615 pages and "
        "0 holes");
  CHECK(error({.hole_count = 3}) == "debug.guest: offset 0x2a: number of holes is 3");
  CHECK(error({.holes = {{3, 1}, {2, 1}}}) ==
        "debug.guest: hole at page 0x2 is not where one can be");
  CHECK(error({.holes = {{9, 1}}}) == "debug.guest: hole at page 0x9 is not where one can be");
  CHECK(error({.version = 7, .architecture = 0}) ==
        "debug.guest: offset 0x48: architecture is ARM64, which is not supported");
  PanicFile file;
  Bytes cut = file.bytes();
  cut.pop_back();
  CHECK(read_in_folder({{"debug.guest", cut}}, "debug.guest").error ==
        "debug.guest: has 4564 bytes, with 1 vCPU it would have 4565");
}

TEST_CASE("vmware panic dump: its memory is missing, too short or too long") {
  const PanicFile file;
  CHECK(read_in_folder({{"debug.guest", file.bytes()}}, "debug.guest").error ==
        "debug.guest: holds no memory, and there is no debug.vmem beside it; name the file with "
        "--memory, if the state was saved with memory");
  CHECK(
      read_panic(file, memory(3)).error ==
      "debug.vmem: the memory is cut off after 12 KiB, more is described (--salvage converts what "
      "is there)");
  const ReadResult result = read_panic(file, memory(3), {.salvage = true});
  CHECK(guest_bytes(*result.image, 0, 3 * 4096) == memory(3));
  CHECK(read_panic(file, memory(5)).error ==
        "debug.vmem: has 20 KiB, the memory of debug.guest has 16 KiB");
}

}  // namespace
}  // namespace vmconvert::test
