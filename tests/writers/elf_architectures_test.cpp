#include <type_traits>

#include "support/test.h"
#include "writers/writing.h"

namespace vmconvert::test {
namespace {

/// Writes integers of a file's byte order.
class OrderedWriter {
 public:
  explicit OrderedWriter(std::endian order) : big_(order == std::endian::big) {}
  OrderedWriter& u32(std::uint64_t value) {
    big_ ? out_.be32(value) : out_.le32(value);
    return *this;
  }
  OrderedWriter& u64(std::uint64_t value) {
    big_ ? out_.be64(value) : out_.le64(value);
    return *this;
  }
  template <class Array>
  OrderedWriter& all(const Array& values) {
    for (const auto value : values) sizeof(value) == 8 ? u64(value) : u32(value);
    return *this;
  }
  /// A register of two halves; the more significant one comes first in a big-endian file.
  OrderedWriter& vector(const Vector128& v) { return u64(v[big_ ? 1 : 0]).u64(v[big_ ? 0 : 1]); }
  OrderedWriter& fill(std::size_t count) {
    out_.fill(count);
    return *this;
  }
  OrderedWriter& note(std::string_view name, std::uint32_t type, const Bytes& desc) {
    u32(name.size() + 1).u32(desc.size()).u32(type);
    out_.text(name).u8(0);
    out_.fill((4 - out_.size() % 4) % 4).append(desc);
    out_.fill((4 - out_.size() % 4) % 4);
    return *this;
  }
  const Bytes& bytes() const { return out_.bytes(); }

 private:
  bool big_;
  ByteWriter out_;
};

/// The head of a 64-bit struct elf_prstatus, up to the registers.
OrderedWriter head(std::endian order, std::uint32_t pid) {
  OrderedWriter out(order);
  return out.fill(32).u32(pid).fill(12).fill(64);
}

template <class Array>
void count_up(Array& values, std::uint64_t first) {
  for (auto& value : values) value = static_cast<std::remove_reference_t<decltype(value)>>(first++);
}

void count_up(std::array<Vector128, 32>& values, std::uint64_t first) {
  for (Vector128& v : values) v = {first++ << 40, first++ << 20};
}

/// The content of PT_NOTE of a file in this byte order.
Bytes notes_of(const GuestImage& image) {
  const Bytes file = executed(plan_of("elf", image), image);
  const auto word = [&](std::uint64_t at) {
    return load<std::uint64_t>(std::span(file).subspan(at), image.byte_order);
  };
  return slice(file, word(64 + 8), word(64 + 32));
}

GuestImage guest(Arch arch, std::endian order, std::vector<Vcpu> vcpus) {
  GuestImage image = image_of({{0, 0x1000}});
  image.arch = arch;
  image.byte_order = order;
  image.vcpus = std::move(vcpus);
  return image;
}

constexpr auto kLittle = std::endian::little, kBig = std::endian::big;

TEST_CASE("elf: a big-endian file is these bytes") {
  const Bytes file =
      executed(plan_of("elf", guest(Arch::s390x, kBig, {})), guest(Arch::s390x, kBig, {}));
  CHECK(slice(file, 0, 64) ==
        from_hex("7f 45 4c 46 02 02 01 00 00 00 00 00 00 00 00 00"     // ELF, 64 bit, BE, SysV
                 "00 04 00 16 00 00 00 01 00 00 00 00 00 00 00 00"     // core, s390, entry
                 "00 00 00 00 00 00 00 40 00 00 00 00 00 00 00 00"     // e_phoff 64, e_shoff 0
                 "00 00 00 00 00 40 00 38 00 02 00 00 00 00 00 00"));  // 2 headers of 56 bytes
  CHECK(slice(file, 120, 56) ==
        from_hex("00 00 00 01 00 00 00 07 00 00 00 00 00 00 10 00"  // LOAD rwx at 0x1000
                 "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"
                 "00 00 00 00 00 00 10 00 00 00 00 00 00 00 10 00"
                 "00 00 00 00 00 00 00 00"));
}

TEST_CASE("elf: machine and flags of each architecture") {
  struct Row {
    Arch arch;
    std::endian order;
    std::string_view machine_and_flags;
  };
  for (const Row& row :
       {Row{Arch::i386, kLittle, "03 00 00 00 00 00"},
        Row{Arch::x86_64, kLittle, "3e 00 00 00 00 00"},
        Row{Arch::aarch64, kLittle, "b7 00 00 00 00 00"},
        Row{Arch::aarch64, kBig, "00 b7 00 00 00 00"}, Row{Arch::s390x, kBig, "00 16 00 00 00 00"},
        Row{Arch::ppc64, kBig, "00 15 00 00 00 01"}, Row{Arch::ppc64, kLittle, "15 00 02 00 00 00"},
        Row{Arch::riscv64, kLittle, "f3 00 00 00 00 00"}}) {
    const GuestImage image = guest(row.arch, row.order, {});
    const Bytes file = executed(plan_of("elf", image), image);
    Bytes found = slice(file, 18, 2);
    const Bytes flags = slice(file, 48, 4);
    found.insert(found.end(), flags.begin(), flags.end());
    CHECK(found == from_hex(row.machine_and_flags));
    CHECK(file[4] == std::byte{2});
    CHECK(file[5] == std::byte{static_cast<unsigned char>(row.order == kBig ? 2 : 1)});
  }
}

TEST_CASE("elf notes: a guest not in long mode has the 32-bit NT_PRSTATUS") {
  X86Registers r;
  r.rax = 1, r.rbx = 2, r.rcx = 3, r.rdx = 4, r.rsi = 5, r.rdi = 6, r.rbp = 7, r.rsp = 8;
  r.rip = 0x1'0000'0009, r.rflags = 10;
  r.cs.selector = 11, r.ds.selector = 12, r.es.selector = 13, r.fs.selector = 14;
  r.gs.selector = 15, r.ss.selector = 16;
  r.long_mode = false;
  const GuestImage image = guest(Arch::i386, kLittle, {r, r});
  const Bytes notes = notes_of(image);
  for (std::uint32_t i = 0; i < 2; ++i) {
    OrderedWriter desc(kLittle);
    desc.fill(24).u32(i + 1).fill(12).fill(32);
    for (const unsigned value : {2U, 3U, 4U, 5U, 6U, 7U, 1U, 12U, 13U, 14U, 15U, 0U})
      desc.u32(value);
    desc.u32(9).u32(11).u32(10).u32(8).u32(16).u32(0);
    REQUIRE(desc.bytes().size() == 144);
    const Bytes expected = OrderedWriter(kLittle).note("CORE", 1, desc.bytes()).bytes();
    CHECK(slice(notes, i * expected.size(), expected.size()) == expected);
  }
  // QEMU's own notes are as wide as ever.
  CHECK(notes.size() == 2 * (20 + 144) + 2 * (20 + 440));
}

TEST_CASE("elf notes: aarch64, in either byte order") {
  Aarch64Registers r;
  count_up(r.x, 100);
  r.sp = 200, r.pc = 201, r.pstate = 202;
  Aarch64Registers with_fp = r;
  with_fp.fp.emplace();
  count_up(with_fp.fp->v, 300);
  with_fp.fp->fpsr = 400, with_fp.fp->fpcr = 401;
  for (const std::endian order : {kLittle, kBig}) {
    OrderedWriter expected(order);
    for (const Aarch64Registers& cpu : {with_fp, r}) {
      const Bytes status =
          head(order, cpu.fp ? 1 : 2).all(r.x).u64(200).u64(201).u64(202).u32(1).u32(0).bytes();
      REQUIRE(status.size() == 392);
      expected.note("CORE", 1, status);
      if (!cpu.fp) continue;
      OrderedWriter fp(order);
      for (const Vector128& v : cpu.fp->v) fp.vector(v);
      expected.note("CORE", 2, fp.u32(400).u32(401).fill(8).bytes());
    }
    CHECK(notes_of(guest(Arch::aarch64, order, {with_fp, r})) == expected.bytes());
  }
}

TEST_CASE("elf notes: s390x") {
  S390xRegisters r;
  r.psw_mask = 1, r.psw_addr = 2;
  count_up(r.gprs, 100);
  count_up(r.acrs, 200);
  count_up(r.crs, 300);
  r.prefix = 3, r.cpu_timer = 4, r.clock_comparator = 5, r.tod_programmable = 6;
  r.fp.emplace();
  r.fp->fpc = 7;
  count_up(r.fp->fprs, 400);
  r.vrs.emplace();
  count_up(*r.vrs, 500);
  r.guarded_storage = {8, 9, 10, 11};
  OrderedWriter low(kBig), high(kBig), expected(kBig);
  for (std::size_t i = 0; i < 16; ++i) low.u64((*r.vrs)[i][0]);
  for (std::size_t i = 16; i < 32; ++i) high.vector((*r.vrs)[i]);
  const Bytes status = head(kBig, 1).u64(1).u64(2).all(r.gprs).all(r.acrs).u64(0).u64(0).bytes();
  REQUIRE(status.size() == 336);
  const auto one = [] { return OrderedWriter(kBig); };
  expected.note("CORE", 1, status);
  expected.note("CORE", 2, one().u32(7).u32(0).all(r.fp->fprs).bytes());
  expected.note("LINUX", 0x305, one().u32(3).bytes());
  expected.note("LINUX", 0x304, one().all(r.crs).bytes());
  expected.note("LINUX", 0x301, one().u64(4).bytes());
  expected.note("LINUX", 0x302, one().u64(5).bytes());
  expected.note("LINUX", 0x303, one().u32(6).bytes());
  expected.note("LINUX", 0x309, low.bytes());
  expected.note("LINUX", 0x30a, high.bytes());
  expected.note("LINUX", 0x30b, one().u64(8).u64(9).u64(10).u64(11).bytes());
  CHECK(notes_of(guest(Arch::s390x, kBig, {r})) == expected.bytes());

  S390xRegisters bare;
  const Bytes some = notes_of(guest(Arch::s390x, kBig, {bare}));
  CHECK(some.size() == 20 + 336 + 5 * 20 + 4 + 128 + 8 + 8 + 4);
}

TEST_CASE("elf notes: ppc64, in either byte order") {
  Ppc64Registers r;
  count_up(r.gpr, 100);
  r.nip = 1, r.msr = 2, r.ctr = 3, r.lr = 4, r.xer = 5, r.cr = 0x87654321;
  r.fp.emplace();
  count_up(r.fp->fpr, 200);
  r.fp->fpscr = 6;
  r.altivec.emplace();
  count_up(r.altivec->vr, 300);
  r.altivec->vscr = 7, r.altivec->vrsave = 8;
  r.vsx.emplace();
  count_up(*r.vsx, 400);
  for (const std::endian order : {kLittle, kBig}) {
    const auto one = [&] { return OrderedWriter(order); };
    const Bytes status = head(order, 1)
                             .all(r.gpr)
                             .u64(1)
                             .u64(2)
                             .u64(0)
                             .u64(3)
                             .u64(4)
                             .u64(5)
                             .u64(0x87654321)
                             .fill(9 * 8)
                             .u64(0)
                             .bytes();
    REQUIRE(status.size() == 504);
    OrderedWriter vmx(order), expected(order);
    for (const Vector128& v : r.altivec->vr) vmx.vector(v);
    order == kBig ? vmx.fill(12).u32(7) : vmx.u32(7).fill(12);
    expected.note("CORE", 1, status);
    expected.note("CORE", 2, one().all(r.fp->fpr).u64(6).bytes());
    expected.note("LINUX", 0x100, vmx.u32(8).fill(12).bytes());
    expected.note("LINUX", 0x102, one().all(*r.vsx).bytes());
    CHECK(notes_of(guest(Arch::ppc64, order, {r})) == expected.bytes());
  }
}

TEST_CASE("elf notes: riscv64") {
  Riscv64Registers r;
  count_up(r.x, 100);
  r.pc = 1;
  OrderedWriter status = head(kLittle, 1).u64(1);
  for (std::size_t i = 1; i < 32; ++i) status.u64(r.x[i]);
  CHECK(notes_of(guest(Arch::riscv64, kLittle, {r})) ==
        OrderedWriter(kLittle).note("CORE", 1, status.u64(0).bytes()).bytes());
}

TEST_CASE("elf notes: a VMCOREINFO joins the notes of an input, unless they hold it") {
  const auto vmcoreinfo = [](std::string_view text) {
    const auto bytes = as_bytes(text);
    return Bytes(bytes.begin(), bytes.end());
  };
  using namespace std::string_view_literals;
  const Bytes own = vmcoreinfo("A=1\n\0"sv), other = vmcoreinfo("A=2\n");
  GuestImage image = guest(Arch::x86_64, kLittle, {});
  image.notes = {{"CORE", 1, from_hex("01")}};
  image.vmcoreinfo = Vmcoreinfo{"A=2\n", ""};
  const auto expected = [&](const Bytes& desc) {
    return OrderedWriter(kLittle)
        .note("CORE", 1, from_hex("01"))
        .note("VMCOREINFO", 0, desc)
        .bytes();
  };
  CHECK(notes_of(image) == expected(other));
  image.notes.push_back({"VMCOREINFO", 0, own});
  CHECK(notes_of(image) == expected(other));
  image.vmcoreinfo->text = "A=1\n";
  CHECK(notes_of(image) == expected(own));
  image.vmcoreinfo.reset();
  CHECK(notes_of(image) == expected(own));
}

TEST_CASE("elf notes: notes of an input stay as they are, under headers in its byte order") {
  const std::string text = "OSRELEASE=1\n";
  for (const std::endian order : {kLittle, kBig}) {
    GuestImage image = guest(Arch::ppc64, order, {Ppc64Registers{}});
    image.notes = {{"CORE", 1, from_hex("01 02 03")}, {"", 7, {}}};
    CHECK(notes_of(image) ==
          OrderedWriter(order).note("CORE", 1, from_hex("01 02 03")).note("", 7, {}).bytes());
    image.notes.clear();
    image.vcpus.clear();
    image.vmcoreinfo = Vmcoreinfo{text, ""};
    const auto bytes = as_bytes(text);
    CHECK(notes_of(image) ==
          OrderedWriter(order).note("VMCOREINFO", 0, Bytes(bytes.begin(), bytes.end())).bytes());
  }
}

}  // namespace
}  // namespace vmconvert::test
