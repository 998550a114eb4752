#include "vmconvert/kernel/given_back.h"

#include <algorithm>
#include <cstdio>
#include <random>

#include "support/collecting_diagnostics.h"
#include "support/kallsyms_builder.h"
#include "support/kernel_memory.h"
#include "support/test.h"
#include "vmconvert/kernel/find_kernel.h"

namespace vmconvert::test {
namespace {

constexpr std::uint64_t kNoteAt = 0xa00000;
constexpr std::uint64_t kEndVariable = 0x3008;
const KernelMemory::Layout kLayout;

std::uint64_t gva(std::uint64_t offset) { return kLayout.image_gva + offset; }

/// A part of the image: begin, end.
using Part = std::pair<std::uint64_t, std::uint64_t>;

/// As Debian's 6.1 has them, in little.
Kallsyms usual_symbols(KallsymsForm form = KallsymsForm::absolute_percpu) {
  return {{{"Afixed_percpu_data", 0},
           {"Ap" + std::string(300, 'x'), 0x4000},
           {"T_stext", gva(0)},
           {"T_text", gva(0)},
           {"T_etext", gva(0x7f123)},
           {"R__start_rodata", gva(0x90000)},
           {"R__end_rodata", gva(0xa0000)},
           {"D_sdata", gva(0xb0000)},
           {"B_brk_end", gva(kEndVariable)},
           {"D__init_begin", gva(0x100800)},
           {"tinit_module", gva(0x110000)},
           {"tinit_module", gva(0x118000)},
           {"D__init_end", gva(0x200800)},
           {"r__smp_locks", gva(0x201000)},
           {"r__smp_locks_end", gva(0x203000)},
           {"B__start_bss_decrypted_unused", gva(0x302000)},
           {"B__end_bss_decrypted", gva(0x310000)}},
          form};
}

std::string text_line() {
  char text[50];
  std::snprintf(text, sizeof text, "SYMBOL(_stext)=%llx\n",
                static_cast<unsigned long long>(gva(0)));
  return text;
}

/// A guest whose kernel has this table, and these further lines in its VMCOREINFO.
KernelMemory guest_with(const Kallsyms& kallsyms, const std::string& lines = text_line()) {
  KernelMemory memory(kLayout);
  const std::string told = put_kallsyms(memory, kLayout, kallsyms);
  memory.put_u64(kLayout.image_gpa + kEndVariable, gva(0x3f0010));
  memory.put_note(kNoteAt, memory.vmcoreinfo() + told + lines);
  memory.point_to(kNoteAt);
  return memory;
}

/// The parts of the image that is found in this memory, from its beginning on.
std::vector<Part> parts_in(const KernelMemory& memory, Diagnostics& diagnostics) {
  std::vector<Part> parts;
  GuestImage image = memory.image({memory.root()});
  REQUIRE(find_kernel(image, {}, diagnostics).has_value());
  for (const KernelMapping& part : image.kernel.image) {
    const std::uint64_t begin = part.guest.begin().value - kLayout.image_gpa;
    CHECK(part.at == GuestVirtAddr{gva(begin)});
    parts.emplace_back(begin, begin + part.guest.size());
  }
  return parts;
}

std::vector<Part> parts_in(const KernelMemory& memory) {
  CollectingDiagnostics diagnostics;
  return parts_in(memory, diagnostics);
}

std::vector<Part> parts_with(const Kallsyms& kallsyms, const std::string& lines = text_line()) {
  return parts_in(guest_with(kallsyms, lines));
}

const std::vector<Part> kWhole{{0, KernelMemory::kImageSize}};
const std::vector<Part> kUsual{{0, 0x80000},         {0x90000, 0xa0000},   {0xb0000, 0x101000},
                               {0x200000, 0x201000}, {0x203000, 0x302000}, {0x310000, 0x3f1000}};

Kallsyms with(Kallsyms kallsyms, const std::string& symbol, std::uint64_t value) {
  for (auto& [name, old] : kallsyms.symbols)
    if (name == symbol) old = value;
  return kallsyms;
}

Kallsyms without(Kallsyms kallsyms, const std::string& symbol) {
  std::erase_if(kallsyms.symbols, [&](const auto& entry) { return entry.first == symbol; });
  return kallsyms;
}

TEST_CASE("kernel: what Linux gave back of its image is not of it, in whole pages") {
  for (const KallsymsForm form :
       {KallsymsForm::relative, KallsymsForm::absolute_percpu, KallsymsForm::whole}) {
    CollectingDiagnostics diagnostics;
    CHECK(parts_in(guest_with(usual_symbols(form)), diagnostics) == kUsual);
    CHECK(diagnostics.has(
        Diagnostics::Level::decision,
        "1.2 MiB of the kernel's image given back to its page allocator (kallsyms)"));
  }
}

TEST_CASE("kernel: kallsyms is believed only if it agrees with VMCOREINFO") {
  CHECK(parts_with(usual_symbols(), "") == kWhole);
  CHECK(parts_with(with(usual_symbols(), "T_stext", gva(0x1000))) == kWhole);
  CHECK(parts_with(without(usual_symbols(), "T_stext")) == kWhole);
}

TEST_CASE("kernel: what kallsyms does not have, or has twice, gives no range") {
  const std::vector<Part> without_init{{0, 0x80000},
                                       {0x90000, 0xa0000},
                                       {0xb0000, 0x201000},
                                       {0x203000, 0x302000},
                                       {0x310000, 0x3f1000}};
  CHECK(parts_with(without(usual_symbols(), "D__init_end")) == without_init);
  Kallsyms twice = usual_symbols();
  twice.symbols.emplace_back("d__init_begin", gva(0x180000));
  CHECK(parts_with(twice) == without_init);
  // Back to front; beyond the image; less than a page.
  CHECK(parts_with(with(usual_symbols(), "D__init_end", gva(0x100000))) == without_init);
  CHECK(parts_with(with(usual_symbols(), "D__init_end", gva(0x401000))) == without_init);
  CHECK(parts_with(with(usual_symbols(), "D__init_begin", UINT64_MAX)) == without_init);
  CHECK(parts_with(with(usual_symbols(), "D__init_end", gva(0x101fff))) == without_init);
}

TEST_CASE("kernel: what VMCOREINFO has a variable in was not given back") {
  char line[50];
  for (const auto& [at, usual] : {std::pair(0x101000, false), std::pair(0x1fffff, false),
                                  std::pair(0x100fff, true), std::pair(0x200000, true)}) {
    std::snprintf(line, sizeof line, "SYMBOL(node_data)=%llx\n",
                  static_cast<unsigned long long>(gva(static_cast<std::uint64_t>(at))));
    CHECK((parts_with(usual_symbols(), text_line() + line) == kUsual) == usual);
  }
}

TEST_CASE("kernel: an image that does not end where its variable says stays as it is there") {
  const std::vector<Part> to_the_end{{0, 0x80000},         {0x90000, 0xa0000},
                                     {0xb0000, 0x101000},  {0x200000, 0x201000},
                                     {0x203000, 0x302000}, {0x310000, 0x400000}};
  for (const std::uint64_t end :
       {std::uint64_t{0}, gva(0x3ff001), gva(0x400000), gva(0x500000), UINT64_MAX, gva(0) - 1}) {
    KernelMemory memory = guest_with(usual_symbols());
    memory.put_u64(kLayout.image_gpa + kEndVariable, end);
    CHECK(parts_in(memory) == to_the_end);
  }
}

TEST_CASE("kernel: a damaged kallsyms leaves the image whole") {
  using Places = KallsymsPlaces;
  const auto damaged = [](std::uint64_t at, std::uint64_t value) {
    KernelMemory memory = guest_with(usual_symbols());
    memory.put_u64(kLayout.image_gpa + at, value);
    return parts_in(memory);
  };
  CHECK(damaged(Places::kCount, 0) == kWhole);
  CHECK(damaged(Places::kCount, (1 << 20) + 1) == kWhole);
  CHECK(damaged(Places::kCount, UINT64_MAX) == kWhole);
  CHECK(damaged(Places::kIndex, 1) == kWhole);
  CHECK(damaged(Places::kTokens + 8, 0x4141414141414141) == kWhole);
  CHECK(damaged(Places::kBase, 0) == kWhole);
  CHECK(damaged(Places::kBase, UINT64_MAX) == kWhole);
  // A table where nothing is mapped, or at the end of addresses.
  for (const char* name :
       {"names", "num_syms", "token_table", "token_index", "offsets", "relative_base"}) {
    for (const char* value :
         {"0", "ffffffff90000000", "ffffffffffffffff", "fffffffffffff000", "8000000000000000"}) {
      KernelMemory other(kLayout);
      std::string told = put_kallsyms(other, kLayout, usual_symbols());
      const std::string key = std::string("SYMBOL(kallsyms_") + name + ")=";
      const std::size_t at = told.find(key) + key.size();
      told.replace(at, told.find('\n', at) - at, value);
      other.put_note(kNoteAt, other.vmcoreinfo() + told + text_line());
      other.point_to(kNoteAt);
      CHECK(parts_in(other) == kWhole);
    }
  }
}

TEST_CASE("kernel: whatever is damaged in kallsyms, parts of the image are whole pages of it") {
  std::mt19937 random(4711);  // NOLINT: the same on every run
  for (int round = 0; round < 300; ++round) {
    KernelMemory memory = guest_with(usual_symbols());
    for (int i = 0; i < 3; ++i) {
      const std::uint64_t places[] = {KallsymsPlaces::kAddresses, KallsymsPlaces::kNames,
                                      KallsymsPlaces::kTokens, KallsymsPlaces::kIndex};
      memory.put(kLayout.image_gpa + places[random() % 4] + random() % 70,
                 std::string(1, static_cast<char>(random())));
    }
    std::uint64_t last = 0;
    for (const auto& [begin, end] : parts_in(memory)) {
      CHECK(last <= begin);
      CHECK(begin < end);
      CHECK((begin % 4096 == 0 && end % 4096 == 0));
      last = end;
    }
    CHECK(last <= KernelMemory::kImageSize);
  }
}

}  // namespace
}  // namespace vmconvert::test
