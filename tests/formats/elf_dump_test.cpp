#include <algorithm>

#include "elf/elf_reader.h"
#include "support/elf_builder.h"
#include "support/image_bytes.h"
#include "support/qevm_builder.h"
#include "support/reading.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

const Bytes kVmcoreinfo = ByteWriter().text("OSRELEASE=6.1.0\nPAGESIZE=4096\n").u8(0).bytes();

ElfLoad load(std::uint64_t paddr, std::uint64_t number, std::size_t size = 4096) {
  return {.paddr = paddr, .content = page_of(number, size)};
}

ElfDump dump_of(std::vector<ElfLoad> loads) {
  ElfDump dump{.loads = std::move(loads)};
  dump.notes = elf_note("CORE", 1, Bytes(336, std::byte{1}));
  return dump;
}

TEST_CASE("elf dump: memory, notes and machine of every class and byte order") {
  struct Row {
    bool is_64, big;
    unsigned machine;
    Arch arch;
  };
  for (const Row& row : {Row{true, false, 62, Arch::x86_64}, Row{true, false, 3, Arch::i386},
                         Row{false, false, 3, Arch::i386}, Row{true, false, 183, Arch::aarch64},
                         Row{true, true, 22, Arch::s390x}, Row{true, true, 21, Arch::ppc64},
                         Row{true, false, 21, Arch::ppc64}, Row{true, false, 243, Arch::riscv64}}) {
    CAPTURE(row.machine);
    ElfDump dump{.is_64 = row.is_64, .big = row.big, .machine = row.machine};
    dump.notes = elf_note("CORE", 1, Bytes(144, std::byte{1}), row.big);
    const Bytes text = elf_note("VMCOREINFO", 0, kVmcoreinfo, row.big);
    dump.notes.insert(dump.notes.end(), text.begin(), text.end());
    dump.loads = {load(0x1000, 1), load(0x80000000, 2, 100)};
    const ReadResult result = read_bytes(dump.bytes());
    REQUIRE(result.error == "");
    const GuestImage& image = *result.image;
    CHECK(image.arch == row.arch);
    CHECK((image.byte_order == std::endian::big) == row.big);
    CHECK(image.runs.extents() ==
          std::vector{guest_range(0x1000, 0x2000), guest_range(0x80000000, 0x80000064)});
    CHECK(guest_bytes(image, 0x1000, 4096) == page_of(1));
    CHECK(guest_bytes(image, 0x80000000, 100) == page_of(2, 100));
    REQUIRE(image.notes.size() == 2);
    CHECK(image.notes[0].name == "CORE");
    CHECK(image.notes[0].type == 1);
    CHECK(image.notes[0].desc == Bytes(144, std::byte{1}));
    CHECK(image.notes[1].desc == kVmcoreinfo);
    CHECK(image.vmcoreinfo->text == "OSRELEASE=6.1.0\nPAGESIZE=4096\n");
  }
}

TEST_CASE("elf dump: facts") {
  ElfDump dump = dump_of({load(0, 1)});
  const Bytes text = elf_note("VMCOREINFO", 0, kVmcoreinfo);
  dump.notes.insert(dump.notes.end(), text.begin(), text.end());
  const ReadResult result = read_bytes(dump.bytes());
  std::string facts;
  for (const Fact& fact : result.image->metadata.facts) facts += fact.key + "=" + fact.value + " ";
  CHECK(facts == "dump.format=ELF64 dump.vcpus=1 dump.release=6.1.0 ");
  CHECK(result.has_decision("guest of x86_64, 1 PT_LOAD, 2 notes"));
}

TEST_CASE("elf dump: the crash dump header of a Windows guest is kept, and is no VMCOREINFO") {
  ElfDump dump = dump_of({load(0, 1)});
  dump.notes = elf_note("VMCOREINFO", 0, ByteWriter().text("PAGEDU64").fill(100, 1).bytes());
  const ReadResult result = read_bytes(dump.bytes());
  CHECK(result.image->notes.size() == 1);
  CHECK_FALSE(result.image->vmcoreinfo);
}

TEST_CASE("elf dump: segments that show the same bytes are one") {
  // As with paging: a page, mapped often, inside a large segment that comes later; in any order.
  ElfDump dump = dump_of({load(0x3000, 3)});
  const std::uint64_t at = 64 + 56 * 7 + dump.notes.size();
  dump.loads.push_back({.paddr = 0x3000, .offset = at, .filesz = 4096});
  dump.loads.push_back({.paddr = 0x3000, .offset = at, .filesz = 2048});
  dump.loads.push_back({.paddr = 0x3800, .offset = at + 2048, .filesz = 2048});
  dump.loads.push_back({.paddr = 0x4000, .content = page_of(4)});
  dump.loads.push_back({.paddr = 0x3000, .offset = at, .filesz = 8192});
  REQUIRE(dump.content_at() == at);
  const ReadResult result = read_bytes(dump.bytes());
  REQUIRE(result.error == "");
  CHECK(result.image->runs.runs().size() == 1);
  CHECK(guest_bytes(*result.image, 0x3000, 4096) == page_of(3));
  CHECK(guest_bytes(*result.image, 0x4000, 4096) == page_of(4));
}

TEST_CASE("elf dump: a copy of the same content is no contradiction") {
  // As in /proc/vmcore: the kernel's text has a segment of its own.
  Bytes all = page_of(1);
  const Bytes second = page_of(2), third = page_of(3);
  all.insert(all.end(), second.begin(), second.end());
  all.insert(all.end(), third.begin(), third.end());
  ElfDump dump = dump_of({load(0x2000, 2), {.paddr = 0x1000, .content = all}});
  dump.loads[0].vaddr = 0xffffffff81000000;
  const ReadResult result = read_bytes(dump.bytes());
  REQUIRE(result.error == "");
  CHECK(guest_bytes(*result.image, 0x1000, all.size()) == all);
}

TEST_CASE("elf dump: two contents of one address are refused, and the first is salvaged") {
  ElfDump dump = dump_of({load(0x1000, 1), load(0x1800, 2)});
  const std::uint64_t second = dump.content_at() + 4096;
  const std::string text = "input: offset " + hex(second) +
                           ": guest memory 0x1800-0x2000 is in two PT_LOADs with different content";
  ReadResult result = read_bytes(dump.bytes());
  CHECK(result.error == text);
  CHECK(result.kind == ErrorKind::corrupt);
  result = read_bytes(dump.bytes(), {.salvage = true});
  REQUIRE(result.error == "");
  CHECK(result.diagnostics->of(Diagnostics::Level::loss) ==
        std::vector{text + "; that at " + hex(dump.content_at() + 2048) + " is kept"});
  CHECK(guest_bytes(*result.image, 0x1000, 4096) == page_of(1));
  const Bytes rest = page_of(2);
  CHECK(guest_bytes(*result.image, 0x2000, 2048) == Bytes(rest.begin() + 2048, rest.end()));
}

TEST_CASE("elf dump: random overlapping segments show what each alone would") {
  std::uint64_t state = 7;
  const auto below = [&](std::uint64_t n) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    return (state >> 33) % n;
  };
  const Bytes memory = page_of(9, 64 * 64);
  for (int round = 0; round < 200; ++round) {
    ElfDump dump = dump_of({});
    std::vector<bool> covered(memory.size());
    for (int i = 0; i < 12; ++i) {
      const std::uint64_t begin = below(60) * 64,
                          size = (1 + below((memory.size() - begin) / 64)) * 64;
      dump.loads.push_back({.paddr = 0x10000 + begin});
      // Half of them show the file's memory, which follows, and half a copy.
      const auto first = memory.begin() + static_cast<std::ptrdiff_t>(begin);
      if (below(2) == 0) {
        dump.loads.back().content.assign(first, first + static_cast<std::ptrdiff_t>(size));
      } else {
        dump.loads.back().offset = begin;
        dump.loads.back().filesz = size;
      }
      std::fill_n(covered.begin() + static_cast<std::ptrdiff_t>(begin), size, true);
    }
    dump.loads.push_back({.paddr = ~std::uint64_t{0}, .content = memory});
    std::uint64_t copies = 0;
    for (const ElfLoad& l : dump.loads) copies += l.content.size();
    for (ElfLoad& l : dump.loads) {
      if (l.offset) *l.offset += dump.content_at() + copies - memory.size();
    }
    const ReadResult result = read_bytes(dump.bytes());
    REQUIRE(result.error == "");
    std::uint64_t total = 0;
    for (const GuestRange extent : result.image->runs.extents()) {
      const std::uint64_t begin = extent.begin().value - 0x10000;
      const auto first = memory.begin() + static_cast<std::ptrdiff_t>(begin);
      REQUIRE(guest_bytes(*result.image, extent.begin().value, extent.size()) ==
              Bytes(first, first + static_cast<std::ptrdiff_t>(extent.size())));
      total += extent.size();
    }
    REQUIRE(total == static_cast<std::uint64_t>(std::count(covered.begin(), covered.end(), true)));
  }
}

TEST_CASE("elf dump: hostile overlaps do not cost more than the file is long") {
  // Each segment shows the same megabyte at another offset of the same addresses.
  ElfDump dump = dump_of({{.paddr = 4096, .content = Bytes(1 << 20)}});
  const std::uint64_t at = 64 + 56 * 22 + dump.notes.size();
  for (std::uint64_t i = 0; i < 20; ++i) {
    dump.loads.push_back({.paddr = 4096, .offset = at + 1 + i, .filesz = (1 << 20) - 30});
  }
  REQUIRE(dump.content_at() == at);
  CHECK(read_bytes(dump.bytes())
            .error.ends_with(
                ": PT_LOADs show the same bytes at different guest addresses too often"));
}

TEST_CASE("elf dump: what is not in the file is left out") {
  ElfDump dump = dump_of({load(0x1000, 1), load(0x8000, 2), load(0x9000, 3), load(0xa000, 4)});
  dump.loads[0].memsz = 0x3000;              // trimmed
  dump.loads[1].offset = ~std::uint64_t{0};  // QEMU's: filtered
  dump.loads[1].filesz = 0;
  dump.loads[1].memsz = 4096;
  dump.loads[2].paddr = ~std::uint64_t{0};  // no physical address
  const ReadResult result = read_bytes(dump.bytes());
  REQUIRE(result.error == "");
  CHECK(result.image->runs.extents() ==
        std::vector{guest_range(0x1000, 0x2000), guest_range(0xa000, 0xb000)});
  CHECK(result.diagnostics->of(Diagnostics::Level::warning) ==
        std::vector<std::string>{
            "input: 2 PT_LOADs with p_memsz larger than p_filesz: what is not in the file may have "
            "been zero or filtered, and is left out"});
  CHECK(result.has_decision("1 PT_LOAD without a physical address, left out"));
  ElfDump narrow = dump_of({load(0xffffffff, 1), load(0x1000, 2)});
  narrow.is_64 = false;
  narrow.machine = 3;
  CHECK(read_bytes(narrow.bytes()).image->runs.extents() ==
        std::vector{guest_range(0x1000, 0x2000)});
}

TEST_CASE("elf dump: segments that cannot be are refused") {
  ElfDump dump = dump_of({load(0x1000, 1)});
  const std::string place =
      "input: offset " + hex(dump.content_at()) + ": PT_LOAD of guest address ";
  dump.loads[0].memsz = 4095;
  CHECK(read_bytes(dump.bytes()).error == place + "0x1000 has p_filesz larger than p_memsz");
  dump.loads[0] = load(~std::uint64_t{0} - 100, 1);
  CHECK(read_bytes(dump.bytes()).error ==
        place + "0xffffffffffffff9b ends above 2^56, the largest guest address there is");
  dump.loads[0] = load(0x1000, 1);
  dump.loads[0].filesz = 5000;
  CHECK(read_bytes(dump.bytes()).error ==
        place + "0x1000 is cut off: 5000 bytes wanted, 4096 left");
  ReadResult result = read_bytes(dump.bytes(), {.salvage = true});
  CHECK(result.diagnostics->of(Diagnostics::Level::loss) ==
        std::vector{place + "0x1000 is cut off: 5000 bytes wanted, 4096 left"});
  CHECK(guest_bytes(*result.image, 0x1000, 4096) == page_of(1));
  dump.loads[0].offset = ~std::uint64_t{0} - 1;
  CHECK(read_bytes(dump.bytes()).error ==
        "input: offset 0xfffffffffffffffe: PT_LOAD of guest address 0x1000 is cut off: 5000 bytes "
        "wanted, 0 left");
}

TEST_CASE("elf dump: salvage drops notes that are damaged") {
  ElfDump dump = dump_of({load(0x1000, 1)});
  dump.notes[4] = std::byte{0xff};
  CHECK(read_bytes(dump.bytes())
            .error.ends_with("note descriptor is cut off: 511 bytes wanted, 336 left"));
  const ReadResult result = read_bytes(dump.bytes(), {.salvage = true});
  REQUIRE(result.image);
  CHECK(result.image->notes.empty());
  CHECK(result.has_loss("; all notes are lost"));
}

TEST_CASE("elf dump: other ELF files are told by what they are") {
  const auto error_of_type = [](unsigned type) {
    ElfDump dump = dump_of({load(0x1000, 1)});
    dump.type = type;
    return read_bytes(dump.bytes()).error;
  };
  CHECK(error_of_type(1) == "input: is an object file, not a dump of a guest");
  CHECK(error_of_type(2) == "input: is an executable, not a dump of a guest");
  CHECK(error_of_type(3) == "input: is an executable or shared library, not a dump of a guest");
  CHECK(error_of_type(7).starts_with("input: is in none of the known formats"));
}

TEST_CASE("elf dump: guests of other machines are refused by number") {
  ElfDump dump = dump_of({load(0x1000, 1)});
  dump.machine = 40;
  dump.is_64 = false;
  CHECK(read_bytes(dump.bytes()).error ==
        "input: is of a guest that is not supported (e_machine 40, 32-bit, little-endian)");
  const ReadOptions options{.machine = machine_by_name("aarch64")};
  CHECK(read_bytes(dump_of({load(0x1000, 1)}).bytes(), options).error ==
        "input: is of a guest of x86_64, not of aarch64 as --arch says");
}

TEST_CASE("elf dump: cores of a process and of Xen are not ours") {
  const auto is_ours = [](const ElfDump& dump) {
    const Bytes bytes = dump.bytes();
    return elf_dump::kElf.probe({bytes, bytes.size()}) == Match::yes;
  };
  ElfDump process = dump_of({load(0, 1), load(0, 2)});
  process.loads[0].vaddr = 0x400000;
  process.loads[1].vaddr = 0x500000;
  CHECK_FALSE(is_ours(process));
  process.loads[1].paddr = 0x1000;  // a dump of a guest has an address
  CHECK(is_ours(process));
  for (const unsigned type : {6U, 0x46494c45U}) {  // NT_AUXV, NT_FILE
    ElfDump with_note = process;
    const Bytes note = elf_note("CORE", type, Bytes(20));
    with_note.notes.insert(with_note.notes.end(), note.begin(), note.end());
    CHECK_FALSE(is_ours(with_note));
  }
  CHECK(is_ours(dump_of({load(0, 1)})));  // a guest whose memory begins at 0
  ElfDump xen = dump_of({});
  xen.phnum = 0;
  CHECK_FALSE(is_ours(xen));
}

}  // namespace
}  // namespace vmconvert::test
