#include "support/test.h"
#include "writers/writing.h"

namespace vmconvert::test {
namespace {

struct Note {
  std::string name;
  std::uint32_t type = 0;
  Bytes desc;
};

/// The notes of a file with one page, and the checks that each reader of notes makes.
std::vector<Note> notes_of(const GuestImage& image) {
  const Bytes file = executed(plan_of("elf", image), image);
  const auto word = [&](std::uint64_t at) {
    return load<std::uint32_t>(std::span(file).subspan(at), std::endian::little);
  };
  std::uint64_t at = word(64 + 8);
  const std::uint64_t end = at + word(64 + 32);
  std::vector<Note> notes;
  while (at < end) {
    REQUIRE(at % 4 == 0);
    const std::uint32_t name_size = word(at), desc_size = word(at + 4);
    Note note{.type = word(at + 8)};
    for (const std::byte b : slice(file, at + 12, name_size)) {
      note.name += static_cast<char>(b);
    }
    const std::uint64_t desc_at = at + 12 + (name_size + 3) / 4 * 4;
    REQUIRE(all_zero(slice(file, at + 12 + name_size, desc_at - at - 12 - name_size)));
    note.desc = slice(file, desc_at, desc_size);
    at = desc_at + (desc_size + 3) / 4 * 4;
    REQUIRE(all_zero(slice(file, desc_at + desc_size, at - desc_at - desc_size)));
    notes.push_back(note);
  }
  REQUIRE(at == end);
  // Memory begins at the next page.
  REQUIRE(word(120 + 8) == (end + 4095) / 4096 * 4096);
  return notes;
}

GuestImage one_page() { return image_of({{0, 0x1000}}); }

TEST_CASE("elf notes: VMCOREINFO has its text and is padded to four bytes") {
  for (const std::string text : {"", "A", "AB=1", "OSRELEASE=6.1\n", "PAGESIZE=4096\nX=12\n"}) {
    CAPTURE(text);
    GuestImage image = one_page();
    image.vmcoreinfo = Vmcoreinfo{text, ""};
    const auto notes = notes_of(image);
    REQUIRE(notes.size() == 1);
    CHECK(notes[0].name == std::string("VMCOREINFO\0", 11));
    CHECK(notes[0].type == 0);
    const auto bytes = as_bytes(text);
    CHECK(notes[0].desc == Bytes(bytes.begin(), bytes.end()));
  }
}

TEST_CASE("elf notes: VMCOREINFO of an odd length is these bytes") {
  GuestImage image = one_page();
  image.vmcoreinfo = Vmcoreinfo{"X=123", ""};
  const Bytes file = executed(plan_of("elf", image), image);
  CHECK(slice(file, 176, 36) == from_hex("0b 00 00 00 05 00 00 00 00 00 00 00"
                                         "56 4d 43 4f 52 45 49 4e 46 4f 00 00"
                                         "58 3d 31 32 33 00 00 00 00 00 00 00"));
}

TEST_CASE("elf notes: an image without facts has none") { CHECK(notes_of(one_page()).empty()); }

X86Segment segment(std::uint64_t n) {
  return {.selector = static_cast<std::uint32_t>(0x100 + n),
          .limit = static_cast<std::uint32_t>(0x20000 + n),
          .flags = static_cast<std::uint32_t>(0x30000 + n),
          .base = 0x4000000000 + n};
}

/// Registers that all differ: `vcpu` in the upper bytes.
X86Registers registers(std::uint64_t vcpu) {
  const auto v = [&](std::uint64_t n) { return (vcpu + 1) << 56 | n; };
  X86Registers r;
  r.rax = v(1);
  r.rbx = v(2);
  r.rcx = v(3);
  r.rdx = v(4);
  r.rsi = v(5);
  r.rdi = v(6);
  r.rsp = v(7);
  r.rbp = v(8);
  for (std::size_t i = 0; i < 8; ++i) r.r8_to_r15[i] = v(16 + i);
  r.rip = v(9);
  r.rflags = v(10);
  r.cs = segment(1);
  r.ds = segment(2);
  r.es = segment(3);
  r.fs = segment(4);
  r.gs = segment(5);
  r.ss = segment(6);
  r.ldt = segment(7);
  r.tr = segment(8);
  r.gdt = segment(9);
  r.idt = segment(10);
  r.cr0 = v(30);
  r.cr2 = v(32);
  r.cr3 = v(33);
  r.cr4 = v(34);
  r.kernel_gs_base = v(40);
  return r;
}

TEST_CASE("elf notes: NT_PRSTATUS of each vCPU then QEMU's then VMCOREINFO") {
  GuestImage image = one_page();
  image.vcpus = {registers(0), registers(1)};
  image.vmcoreinfo = Vmcoreinfo{"X=1", ""};
  const auto notes = notes_of(image);
  REQUIRE(notes.size() == 5);
  for (const std::size_t i : {0U, 1U}) {
    CHECK(notes[i].name == std::string("CORE\0", 5));
    CHECK(notes[i].type == 1);
    CHECK(notes[i].desc.size() == 336);
    CHECK(notes[2 + i].name == std::string("QEMU\0", 5));
    CHECK(notes[2 + i].type == 0);
    CHECK(notes[2 + i].desc.size() == 440);
  }
  CHECK(notes[4].name == std::string("VMCOREINFO\0", 11));
}

TEST_CASE("elf notes: NT_PRSTATUS is Linux' struct elf_prstatus") {
  GuestImage image = one_page();
  image.vcpus = {registers(0), registers(1)};
  const Bytes desc = notes_of(image)[1].desc;
  const X86Registers r = registers(1);
  ByteWriter expected;
  expected.fill(32).le32(2).fill(12).fill(64);  // signals, pid, ppid pgrp sid, times
  for (int i = 7; i >= 4; --i) expected.le64(r.r8_to_r15[static_cast<std::size_t>(i)]);
  expected.le64(r.rbp).le64(r.rbx);
  for (int i = 3; i >= 0; --i) expected.le64(r.r8_to_r15[static_cast<std::size_t>(i)]);
  expected.le64(r.rax).le64(r.rcx).le64(r.rdx).le64(r.rsi).le64(r.rdi).le64(0);
  expected.le64(r.rip).le64(0x101).le64(r.rflags).le64(r.rsp).le64(0x106);
  expected.le64(r.fs.base).le64(r.gs.base).le64(0x102).le64(0x103).le64(0x104).le64(0x105);
  expected.le64(0);  // fpvalid, padding
  CHECK(desc == expected.bytes());
}

TEST_CASE("elf notes: QEMU's note is its struct QEMUCPUState") {
  GuestImage image = one_page();
  image.vcpus = {registers(0)};
  const Bytes desc = notes_of(image)[1].desc;
  const X86Registers r = registers(0);
  ByteWriter expected;
  expected.le32(1).le32(440);
  expected.le64(r.rax).le64(r.rbx).le64(r.rcx).le64(r.rdx);
  expected.le64(r.rsi).le64(r.rdi).le64(r.rsp).le64(r.rbp);
  for (const std::uint64_t n : r.r8_to_r15) expected.le64(n);
  expected.le64(r.rip).le64(r.rflags);
  for (std::uint64_t n = 1; n <= 10; ++n) {  // cs ds es fs gs ss ldt tr gdt idt
    expected.le32(0x100 + n).le32(0x20000 + n).le32(0x30000 + n).le32(0).le64(0x4000000000 + n);
  }
  expected.le64(r.cr0).le64(0).le64(r.cr2).le64(r.cr3).le64(r.cr4).le64(r.kernel_gs_base);
  CHECK(desc == expected.bytes());
}

}  // namespace
}  // namespace vmconvert::test
