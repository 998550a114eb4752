#include <array>
#include <functional>

#include "support/checkpoint_builder.h"
#include "support/qevm_builder.h"
#include "support/reading.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

// docs/formats/vmware.md, "Registers": numbers of segments and the order of packed registers.
constexpr std::array kGeneral{"rax", "rcx", "rdx", "rbx", "rbp", "rsp", "rsi", "rdi"};
constexpr std::uint64_t kStack = 0xffffc90000013e80;

/// What a register of this name has in these tests; `vcpu` is not to be mistaken for another.
std::uint64_t value_of(std::string_view name, std::uint32_t vcpu) {
  if (name == "rsp") return kStack + 0x1000 * vcpu;
  if (name == "rbp") return kStack + 0x1000 * vcpu + 0x28;
  std::uint64_t value = 0xffffffff81000001 + vcpu;
  for (const char c : name) value = value * 31 + static_cast<unsigned char>(c);
  return value;
}
X86Registers expected(std::uint32_t c, bool with_limits = false) {
  X86Registers r;
  r.rax = value_of("rax", c), r.rbx = value_of("rbx", c), r.rcx = value_of("rcx", c);
  r.rdx = value_of("rdx", c), r.rsi = value_of("rsi", c), r.rdi = value_of("rdi", c);
  r.rsp = value_of("rsp", c), r.rbp = value_of("rbp", c);
  for (unsigned i = 0; i < 8; ++i) r.r8_to_r15[i] = value_of("r" + std::to_string(8 + i), c);
  r.rip = 0xffffffff81234567 + c, r.rflags = 0x246;
  r.cr0 = 0x80050033, r.cr2 = 0x7fff00000000 + c, r.cr3 = 0x187000 + c, r.cr4 = 0x6f8;
  r.es.selector = 0x18, r.cs.selector = 0x10, r.ss.selector = 0x20, r.ds.selector = 0x2b;
  r.fs.selector = 0x53, r.gs.selector = 0x63, r.ldt.selector = 0x68, r.tr.selector = 0x40;
  r.fs.base = 0x7f0000001000 + c, r.gs.base = 0xffff888000000000 + c;
  r.gdt = {.limit = 127, .base = 0xfffffe0000001000 + c};
  r.idt = {.limit = 4095, .base = 0xfffffe0000000000 + c};
  if (with_limits) r.cs.limit = 0xffffffff;
  return r;
}
constexpr std::array<std::uint32_t, 8> kSelectors{0x18, 0x10, 0x20, 0x2b, 0x53, 0x63, 0x68, 0x40};

void add_segments(CheckpointBuilder& file, std::uint32_t c, unsigned width) {
  for (std::uint32_t s = 0; s < 8; ++s) {
    // Of a selector only 16 bits are.
    file.number("S", {c, s}, kSelectors[s] | (width == 4 ? 0xabcd0000U : 0U), width);
    const std::uint64_t base = s == 4 ? expected(c).fs.base : s == 5 ? expected(c).gs.base : 0;
    file.number("S.base64", {c, s}, base, 8);
  }
}

/// A tag for each register, low halves before and behind, as in ESX 4.1.
void add_single(CheckpointBuilder& file, std::uint32_t c) {
  const X86Registers r = expected(c);
  file.number("eip", {c}, r.rip & 0xffffffff).number("rip", {c}, r.rip, 8);
  file.number("eflags", {c}, r.rflags).number("halted", {c}, 1, 1);
  for (const char* name : kGeneral) file.number(name, {c}, value_of(name, c), 8);
  for (unsigned i = 8; i < 16; ++i) {
    const std::string name = "r" + std::to_string(i);
    file.number(name, {c}, value_of(name, c), 8);
  }
  file.number("esp", {c}, 0x1234);
  const std::array control{r.cr0, std::uint64_t{0}, r.cr2, r.cr3, r.cr4};
  for (std::uint32_t i = 0; i < 5; ++i)
    file.number("CR", {c, i}, control[i]).number("CR64", {c, i}, control[i], 8);
  file.number("GDTR", {c, 0}, 127, 2).number("GDTR", {c, 1}, r.gdt.base & 0xffffffff);
  file.number("GDTR", {c, 2}, r.gdt.base >> 32);
  file.number("IDTR", {c, 0}, 4095, 2).number("IDTR", {c, 1}, r.idt.base & 0xffffffff);
  file.number("IDTR", {c, 2}, r.idt.base >> 32);
  add_segments(file, c, 2);
}

Bytes packed_general(std::uint32_t c, bool crash_order = true) {
  ByteWriter out;
  for (std::size_t i = 0; i < 8; ++i) {
    const std::size_t from = crash_order || (i != 4 && i != 5) ? i : 9 - i;
    out.le64(value_of(kGeneral[from], c));
  }
  for (unsigned i = 8; i < 16; ++i) out.le64(value_of("r" + std::to_string(i), c));
  return out.bytes();
}

void add_packed(CheckpointBuilder& file, std::uint32_t c, bool crash_order = true) {
  const X86Registers r = expected(c);
  file.block("gpregs", {c}, packed_general(c, crash_order), {.padding = 5});
  file.block("CR64", {c},
             ByteWriter().le64(r.cr0).le64(0).le64(r.cr2).le64(r.cr3).le64(r.cr4).fill(32).bytes());
  file.block("GDTR", {c}, ByteWriter().le16(127).le64(r.gdt.base).bytes());
  file.value("IDTR", {c}, ByteWriter().le16(4095).le64(r.idt.base).bytes());
  file.number("rip", {c}, r.rip, 8).number("eflags", {c}, r.rflags);
  add_segments(file, c, 4);
}

/// A state with this cpu group, and a page of memory.
ReadResult read_cpus(const std::function<void(CheckpointBuilder&)>& fill,
                     std::string_view guest_os = "", const ReadOptions& options = {}) {
  CheckpointBuilder file;
  file.group("cpu");
  fill(file);
  file.group("memory").block("Memory", {0, 0}, page_of(1));
  if (!guest_os.empty()) {
    const std::string text = "#!/usr/bin/vmware\n.encoding = \"UTF-8\"\nGuestos = \"" +
                             std::string(guest_os) + "\"\nmemsize = \"512\"\n";
    const auto bytes = as_bytes(text);
    file.group("Snapshot").block("cfgFile", {}, Bytes(bytes.begin(), bytes.end()));
  }
  return read_bytes(file.bytes(), options);
}

void check_registers(const ReadResult& result, std::size_t count) {
  REQUIRE(result.error == "");
  CHECK(result.image->arch == Arch::x86_64);
  REQUIRE(result.image->vcpus.size() == count);
  for (std::uint32_t c = 0; c < count; ++c)
    CHECK(std::get<X86Registers>(result.image->vcpus[c]) == expected(c));
}

TEST_CASE("vmware registers: a tag for each, of several vCPUs, in any order") {
  check_registers(read_cpus([](CheckpointBuilder& file) {
                    add_single(file, 2);
                    add_single(file, 0);
                    file.number("cpu:numVCPUs", {}, 3);
                    add_single(file, 1);
                  }),
                  3);
  check_registers(read_cpus([](CheckpointBuilder& file) { add_single(file, 0); }), 1);
}

TEST_CASE("vmware registers: packed ones, and both kinds in one file") {
  check_registers(read_cpus([](CheckpointBuilder& file) {
                    file.number("cpu:numVCPUs", {}, 2);
                    add_packed(file, 0);
                    add_packed(file, 1);
                  }),
                  2);
  check_registers(read_cpus([](CheckpointBuilder& file) {
                    add_packed(file, 0);
                    add_single(file, 1);
                    // Of a vCPU that does not exist, and of an index beyond all.
                    add_packed(file, 5);
                    file.number("rip", {4000000000U}, 1, 8).number("cpu:numVCPUs", {}, 2);
                  }),
                  2);
}

TEST_CASE("vmware registers: the order of rsp and rbp in packed ones is told by their values") {
  const ReadResult exchanged = read_cpus([](CheckpointBuilder& file) {
    add_packed(file, 0, false);
    add_packed(file, 1, false);
  });
  check_registers(exchanged, 2);
  CHECK(exchanged.has_decision("gpregs hold rsp before rbp, by what these values can be"));
  const ReadResult usual = read_cpus([](CheckpointBuilder& file) { add_packed(file, 0); });
  CHECK(usual.has_decision("gpregs hold rbp before rsp, by what these values can be"));
  const auto stack = [](std::uint64_t fifth, std::uint64_t sixth, bool own = false) {
    const ReadResult result = read_cpus([&](CheckpointBuilder& file) {
      Bytes general = packed_general(0);
      const Bytes both = ByteWriter().le64(fifth).le64(sixth).bytes();
      std::copy(both.begin(), both.end(), general.begin() + 32);
      file.block("gpregs", {0}, general).number("rip", {0}, kStack, 8);
      if (own) file.number("rsp", {0}, 0x88, 8).number("rbp", {0}, 0x99, 8);
    });
    const auto& r = std::get<X86Registers>(result.image->vcpus.at(0));
    const bool unproven = result.has_decision("as crash reads them; nothing here shows it");
    return hex(r.rsp) + " " + hex(r.rbp) + (unproven ? " unproven" : "");
  };
  CHECK(stack(kStack, 3) == hex(kStack) + " 0x3");  // kernels without frame pointers
  CHECK(stack(3, kStack) == hex(kStack) + " 0x3");
  CHECK(stack(kStack + 64, kStack) == hex(kStack) + " " + hex(kStack + 64));
  CHECK(stack(kStack, kStack + 64) == hex(kStack) + " " + hex(kStack + 64));
  CHECK(stack(8, kStack) == hex(kStack) + " 0x8 unproven");
  CHECK(stack(3, 5) == "0x5 0x3 unproven");
  CHECK(stack(0x0010000000000000, kStack) == hex(kStack) + " 0x10000000000000");
  CHECK(stack(kStack, 3, true).starts_with("0x88 0x99"));
}

TEST_CASE("vmware registers: of a 32-bit guest") {
  const ReadResult result = read_cpus([](CheckpointBuilder& file) {
    file.number("cpu:numVCPUs", {}, 1).number("eip", {0}, 0xc1001234);
    file.number("EFLAGS", {0}, 0x202).number("esp", {0}, 0xc2003ff0).number("ebp", {0}, 0xc2003ff8);
    file.number("eax", {0}, 7).number("CR", {0, 0}, 0x80050033).number("CR", {0, 3}, 0x1ff000);
    file.number("S", {0, 1}, 0x60).number("S.base", {0, 4}, 0x1000);
    file.number("S.limit", {0, 1}, 0xffffffff).number("IDTR", {0, 1}, 0xffba4000);
  });
  REQUIRE(result.error == "");
  CHECK(result.image->arch == Arch::i386);
  X86Registers r;
  r.rip = 0xc1001234, r.rflags = 0x202, r.rsp = 0xc2003ff0, r.rbp = 0xc2003ff8, r.rax = 7;
  r.cr0 = 0x80050033, r.cr3 = 0x1ff000, r.cs.selector = 0x60, r.cs.limit = 0xffffffff;
  r.fs.base = 0x1000, r.idt.base = 0xffba4000, r.long_mode = false;
  CHECK(std::get<X86Registers>(result.image->vcpus.at(0)) == r);
}

TEST_CASE(
    "vmware registers: whether the guest has 64 bits is told by addresses, guestOS, the user") {
  const auto low = [](CheckpointBuilder& file) { file.number("rip", {0}, 0x7c00, 8); };
  const auto none = [](CheckpointBuilder&) {};
  const auto wide = [](CheckpointBuilder& file) { add_packed(file, 0); };
  CHECK(read_cpus(low).image->arch == Arch::i386);
  CHECK(read_cpus(low, "debian12-64").image->arch == Arch::x86_64);
  CHECK(read_cpus(low, "winxppro").image->arch == Arch::i386);
  CHECK(read_cpus(none, "winxppro").image->arch == Arch::i386);
  CHECK(read_cpus(wide, "winxppro").image->arch == Arch::x86_64);
  CHECK(read_cpus(low, "", {.machine = machine_by_name("x86_64")}).image->arch == Arch::x86_64);
  CHECK(read_cpus(low, "debian12-64", {.machine = machine_by_name("i386")}).image->arch ==
        Arch::i386);
  CHECK(read_cpus(low, "debian12-64")
            .has_decision("guest of x86_64, as guestOS \"debian12-64\" of the configuration says"));
  CHECK(read_cpus(none).image->arch == Arch::x86_64);
  CHECK(read_cpus(none).has_warning("does not tell the guest's architecture"));
  CHECK(read_cpus(none, "", {.machine = machine_by_name("s390x")}).error ==
        "input: is of a guest of x86_64, not of s390x as --arch says");
}

TEST_CASE("vmware registers: memory converts without what cannot be used") {
  const auto warning = [](const std::function<void(CheckpointBuilder&)>& fill) {
    const ReadResult result = read_cpus(fill);
    REQUIRE(result.error == "");
    CHECK(result.image->runs.total_bytes() == 4096);
    const auto warnings = result.diagnostics->of(Diagnostics::Level::warning);
    for (const std::string& text : warnings) {
      if (text.find("registers") != std::string::npos)
        return text + (result.image->vcpus.empty() ? "" : " (kept)");
    }
    return std::string();
  };
  CHECK(warning([](CheckpointBuilder&) {}).empty());
  CHECK(warning([](CheckpointBuilder& file) {
          add_single(file, 0);
          file.number("cpu:numVCPUs", {}, 2).number("rax", {1}, 1, 8);
        }) == "input: no registers: vCPU 1 has no instruction pointer");
  CHECK(warning([](CheckpointBuilder& file) { add_single(file, 1); }) ==
        "input: no registers: vCPU 0 has no instruction pointer");
  CHECK(warning([](CheckpointBuilder& file) {
          add_single(file, 0);
          file.number("cpu:numVCPUs", {}, 8193);
        }) == "input: no registers: cpu:numVCPUs 8193 is more than there can be");
  CHECK(warning([](CheckpointBuilder& file) { file.number("rip", {0}, kStack, 8); }) ==
        "input: control registers are missing, so tools may not find the page tables (kept)");
  CHECK(warning([](CheckpointBuilder& file) {
          add_single(file, 0);
          file.block("x", {}, Bytes(3), {.stored_size = 1 << 20});
        }).starts_with("input: no registers: input: offset 0x"));
  CHECK(warning([](CheckpointBuilder& file) {
          add_single(file, 0);
          file.block("gpregs", {0}, Bytes(60), {.compressed = true, .memory_size = 128});
        }).ends_with("gpregs[0] is compressed in an unknown way"));
  // Of other sizes, with other indices: not registers that are known.
  CHECK(warning([](CheckpointBuilder& file) {
          add_single(file, 0);
          file.block("gpregs", {0}, Bytes(136)).block("CR64", {0}, Bytes(64));
          file.number("CR64", {0, 9}, 1, 8).number("rip", {0, 0}, 1, 8).number("S", {0}, 1);
        }).empty());
}

}  // namespace
}  // namespace vmconvert::test
