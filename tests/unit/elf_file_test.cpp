#include "vmconvert/io/elf_file.h"

#include "support/elf_builder.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

ElfDump small(bool is_64, bool big) {
  ElfDump dump{.is_64 = is_64, .big = big};
  dump.notes = elf_note("CORE", 1, Bytes(10, std::byte{7}), big);
  dump.loads = {{.paddr = 0x1000, .content = Bytes(64), .vaddr = 0xc0001000}};
  return dump;
}

MemorySource source_of(const Bytes& bytes) { return MemorySource("input", bytes); }

std::string error_of_bytes(const Bytes& bytes) {
  const MemorySource source("input", bytes);
  return error_of([&] { ElfFile(source).notes(source); });
}

TEST_CASE("elf file: every class and byte order is read alike") {
  for (const bool is_64 : {true, false}) {
    for (const bool big : {true, false}) {
      CAPTURE(is_64);
      CAPTURE(big);
      const ElfDump dump = small(is_64, big);
      const MemorySource source("input", dump.bytes());
      const ElfFile file(source);
      CHECK(file.header().is_64 == is_64);
      CHECK((file.header().order == std::endian::big) == big);
      CHECK(file.header().e_machine == 62);
      REQUIRE(file.segments().size() == 2);
      const ElfSegment& load = file.segments()[1];
      CHECK(load.p_type == 1);
      CHECK(load.p_paddr == 0x1000);
      CHECK(load.p_vaddr == 0xc0001000);
      CHECK(load.p_offset == dump.content_at());
      CHECK(load.p_filesz == 64);
      CHECK(load.p_memsz == 64);
      const std::vector<ElfNote> notes = file.notes(source);
      REQUIRE(notes.size() == 1);
      CHECK(notes[0].name == "CORE");
      CHECK(notes[0].type == 1);
      CHECK(notes[0].desc == FileRange::sized({dump.notes_at() + 20}, 10));
    }
  }
}

TEST_CASE("elf file: more program headers than e_phnum can say") {
  for (const bool is_64 : {true, false}) {
    ElfDump dump = small(is_64, is_64);
    dump.many = true;
    dump.loads.resize(70'000, {.paddr = 0x5000});
    const MemorySource source("input", dump.bytes());
    CHECK(ElfFile(source).segments().size() == 70'001);
  }
}

TEST_CASE("elf file: what is no header is none") {
  const Bytes good = small(true, false).bytes();
  CHECK(peek_elf_header(good));
  CHECK_FALSE(peek_elf_header(std::span(good).first(63)));
  for (const std::size_t at : {0U, 3U, 4U, 5U, 6U}) {
    Bytes bad = good;
    bad[at] = std::byte{9};
    CHECK_FALSE(peek_elf_header(bad));
    CHECK(error_of_bytes(bad) == "input: offset 0x0: is no ELF file");
  }
  const Bytes narrow = small(false, false).bytes();
  CHECK(peek_elf_header(std::span(narrow).first(52)));
}

TEST_CASE("elf file: probes see the program headers that are in their window") {
  const Bytes bytes = small(true, false).bytes();
  const auto header = peek_elf_header(bytes);
  REQUIRE(header);
  CHECK(peek_elf_segments(bytes, *header).size() == 2);
  CHECK(peek_elf_segments(std::span(bytes).first(64 + 56 + 55), *header).size() == 1);
  ElfHeader other = *header;
  other.e_phoff = ~std::uint64_t{0};
  CHECK(peek_elf_segments(bytes, other).empty());
  other = *header;
  other.e_phentsize = 32;
  CHECK(peek_elf_segments(bytes, other).empty());
}

TEST_CASE("elf file: headers that cannot be are refused") {
  ElfDump dump = small(true, false);
  dump.phentsize = 55;
  CHECK(error_of_bytes(dump.bytes()) == "input: offset 0x36: e_phentsize is 55 instead of 56");
  dump = small(false, false);
  dump.phentsize = 56;
  CHECK(error_of_bytes(dump.bytes()) == "input: offset 0x2a: e_phentsize is 56 instead of 32");
  dump = small(true, false);
  dump.phnum = 6;
  CHECK(error_of_bytes(dump.bytes()) ==
        "input: offset 0x40: e_phnum is 6, more than the file can hold");
}

TEST_CASE("elf file: notes that leave their segment are refused") {
  ElfDump dump = small(true, false);
  const auto at = [&](std::uint64_t offset) { return hex(dump.notes_at() + offset); };
  dump.notes[4] = std::byte{13};
  CHECK(error_of_bytes(dump.bytes()) ==
        "input: offset " + at(20) + ": note descriptor is cut off: 13 bytes wanted, 12 left");
  dump = small(true, false);
  dump.notes[0] = std::byte{200};
  CHECK(error_of_bytes(dump.bytes()) ==
        "input: offset " + at(12) + ": note name is cut off: 200 bytes wanted, 20 left");
  dump.notes[1] = std::byte{1};
  CHECK(error_of_bytes(dump.bytes()) ==
        "input: offset " + at(0) + ": n_namesz 456 is longer than any name of a note");
}

TEST_CASE("elf file: zeros between notes are no notes, and names may lack their NUL") {
  Bytes area = elf_note("CORE", 1, {});
  area.resize(area.size() + 24);
  const Bytes bare = from_hex("04 00 00 00 00 00 00 00 05 00 00 00 58 65 6e 21");
  area.insert(area.end(), bare.begin(), bare.end());
  area.resize(area.size() + 11);  // too short for a note
  const MemorySource source = source_of(area);
  const auto notes =
      read_elf_notes(source, FileRange::sized({0}, area.size()), std::endian::little);
  REQUIRE(notes.size() == 2);
  CHECK(notes[1].name == "Xen!");
  CHECK(notes[1].type == 5);
  CHECK(notes[1].desc.empty());
}

TEST_CASE("elf file: only so many bytes of notes are believed") {
  const Bytes area(64);
  const MemorySource source = source_of(area);
  CHECK(error_of([&] {
          read_elf_notes(source, FileRange::sized({16}, 48), std::endian::little, 47);
        }) == "input: offset 0x10: notes are 48 bytes, more than 47");
}

}  // namespace
}  // namespace vmconvert::test
