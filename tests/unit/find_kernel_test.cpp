#include "vmconvert/kernel/find_kernel.h"

#include "support/collecting_diagnostics.h"
#include "support/kernel_memory.h"
#include "support/test.h"

namespace vmconvert {
namespace {

using test::KernelMemory;

constexpr std::uint64_t kNoteAt = 0xa00000;

struct Result {
  GuestImage image;
  bool found = false;
  test::CollectingDiagnostics diagnostics;
};

void find(Result& result, GuestImage image, const KernelOptions& options = {}) {
  result.image = std::move(image);
  result.found = find_kernel(result.image, options, result.diagnostics).has_value();
}

void check_facts(const GuestImage& image, const KernelMemory::Layout& layout) {
  const KernelFacts& facts = image.kernel;
  CHECK(facts.release == "6.1.0-9-test");
  CHECK(facts.banner == layout.banner.substr(0, layout.banner.size() - 1));
  REQUIRE(facts.phys_base.has_value());
  CHECK(static_cast<std::uint64_t>(facts.phys_base->value) ==
        layout.image_gpa - (layout.image_gva - 0xffffffff80000000));
  REQUIRE(facts.kaslr_offset.has_value());
  CHECK(facts.kaslr_offset->value == layout.image_gva - 0xffffffff81000000);
  REQUIRE(facts.page_offset.has_value());
  CHECK(facts.page_offset->value == layout.page_offset);
  REQUIRE(facts.image.size() == 1);
  CHECK(facts.image[0].guest == GuestRange::sized({layout.image_gpa}, KernelMemory::kImageSize));
  CHECK(facts.image[0].at == GuestVirtAddr{layout.image_gva});
}

TEST_CASE("kernel: the vCPU's page tables lead to it, its image to VMCOREINFO") {
  for (const unsigned levels : {4U, 5U}) {
    const KernelMemory::Layout layout{
        .levels = levels, .page_offset = levels == 5 ? 0xff25c954c0000000 : 0xffff91c0c0000000};
    KernelMemory memory(layout);
    memory.put_note(kNoteAt, memory.vmcoreinfo());
    memory.point_to(kNoteAt);
    Result result;
    find(result, memory.image({memory.root()}));
    REQUIRE(result.found);
    check_facts(result.image, layout);
    REQUIRE(result.image.vmcoreinfo.has_value());
    CHECK(result.image.vmcoreinfo->text == memory.vmcoreinfo());
    CHECK(result.image.vmcoreinfo->origin ==
          "guest address 0xa00000, which the kernel's image points to");
  }
}

TEST_CASE("kernel: VMCOREINFO may be a bare text on its page, and is not read with --no-scan") {
  KernelMemory memory({});
  memory.put(kNoteAt, memory.vmcoreinfo());
  memory.point_to(kNoteAt);
  Result scanned, unscanned;
  find(scanned, memory.image({memory.root()}));
  REQUIRE(scanned.image.vmcoreinfo.has_value());
  CHECK(scanned.image.vmcoreinfo->text == memory.vmcoreinfo());
  find(unscanned, memory.image({memory.root()}), {.scan = Scan::none});
  CHECK(unscanned.found);
  CHECK(!unscanned.image.vmcoreinfo.has_value());
}

TEST_CASE("kernel: a vCPU in user mode under KPTI leads to the kernel's half of the tables") {
  KernelMemory memory({});
  // The user's half follows the kernel's and maps next to nothing.
  const std::uint64_t user_half = memory.root() + 0x1000;
  memory.map(user_half, 0xffffffff8d400000, 4 << 20, false);
  Result result;
  find(result, memory.image({user_half | 0x801}));
  REQUIRE(result.found);
  check_facts(result.image, {});
}

TEST_CASE("kernel: a vCPU whose tables map no kernel is passed over") {
  KernelMemory memory({});
  Result result;
  find(result, memory.image({0x3000, 0xffffffff000, memory.root()}));
  REQUIRE(result.found);
  CHECK(result.image.kernel.page_tables->origin == "CR3 of vCPU 2");
}

TEST_CASE("kernel: SEV's C-bit is taken out of the tables") {
  for (const std::uint64_t bit : {std::uint64_t{1} << 51, std::uint64_t{1} << 47}) {
    const KernelMemory::Layout layout{.encryption_bit = bit};
    KernelMemory memory(layout);
    Result result;
    find(result, memory.image({memory.root() | bit}));
    REQUIRE(result.found);
    check_facts(result.image, layout);
  }
}

TEST_CASE("kernel: without registers, VMCOREINFO anywhere in memory leads to the page tables") {
  KernelMemory memory({});
  memory.put_note(kNoteAt, memory.vmcoreinfo());
  Result result;
  find(result, memory.image({}));
  REQUIRE(result.found);
  check_facts(result.image, {});
  CHECK(result.image.vmcoreinfo->origin == "guest address 0xa00000, found by its form");
}

TEST_CASE("kernel: of two notes the running kernel's is taken, wherever it lies") {
  const KernelMemory::Layout old_boot{.image_gva = 0xffffffff9a200000};
  const std::string other = KernelMemory(old_boot).vmcoreinfo();
  for (const bool registers : {true, false}) {
    for (const std::uint64_t running_at : {std::uint64_t{0x900000}, std::uint64_t{0xb00000}}) {
      KernelMemory memory({});
      memory.put_note(kNoteAt, other);
      memory.put_note(running_at, memory.vmcoreinfo());
      memory.point_to(running_at);
      Result result;
      find(result,
           memory.image(registers ? std::vector{memory.root()} : std::vector<std::uint64_t>{}));
      REQUIRE(result.found);
      CHECK(result.image.vmcoreinfo->text == memory.vmcoreinfo());
    }
  }
}

TEST_CASE("kernel: a note that is only a note of an earlier boot is not used") {
  const std::string other = KernelMemory({.image_gva = 0xffffffff9a200000}).vmcoreinfo();
  KernelMemory memory({});
  memory.put_note(kNoteAt, other);
  Result with, without;
  find(with, memory.image({memory.root()}));
  CHECK(with.found);
  CHECK(!with.image.vmcoreinfo.has_value());
  find(without, memory.image({}));
  CHECK(!without.found);
  CHECK(!without.image.vmcoreinfo.has_value());
  CHECK(without.diagnostics.has(Diagnostics::Level::decision,
                                "VMCOREINFO at guest address 0xa00000, found by its form is not of "
                                "the running kernel"));
}

TEST_CASE("kernel: what the hypervisor was told is kept, and doubted if the page tables disagree") {
  KernelMemory memory({});
  GuestImage image = memory.image({memory.root()});
  image.vmcoreinfo =
      Vmcoreinfo{KernelMemory({.image_gva = 0xffffffff9a200000}).vmcoreinfo(), "device"};
  Result result;
  find(result, std::move(image));
  REQUIRE(result.found);
  CHECK(result.image.vmcoreinfo->origin == "device");
  check_facts(result.image, {});
  CHECK(result.diagnostics.has(Diagnostics::Level::warning,
                               "VMCOREINFO (device) does not describe the kernel that the page "
                               "tables map, 6.1.0-9-test"));
}

TEST_CASE("kernel: what the hypervisor was told gives way to the running kernel's own") {
  KernelMemory memory({});
  memory.put_note(kNoteAt, memory.vmcoreinfo());
  memory.point_to(kNoteAt);
  GuestImage image = memory.image({memory.root()});
  image.vmcoreinfo =
      Vmcoreinfo{KernelMemory({.image_gva = 0xffffffff9a200000}).vmcoreinfo(), "device"};
  Result result;
  find(result, std::move(image));
  REQUIRE(result.found);
  CHECK(result.image.vmcoreinfo->text == memory.vmcoreinfo());
  CHECK(result.diagnostics.has(
      Diagnostics::Level::warning,
      "VMCOREINFO (device) is of another kernel than the running one, and not used"));
}

TEST_CASE("kernel: a VMCOREINFO whose code lies outside of the image is of another boot") {
  KernelMemory memory({});
  memory.put_note(kNoteAt, memory.vmcoreinfo());
  memory.point_to(kNoteAt);
  for (const auto& [text, kept] :
       {std::pair("ffffffff8d400000", true), std::pair("ffffffff8d7fffff", true),
        std::pair("ffffffff8d800000", false), std::pair("ffffffff8d3fffff", false)}) {
    GuestImage image = memory.image({memory.root()});
    image.vmcoreinfo = Vmcoreinfo{memory.vmcoreinfo() + "SYMBOL(_stext)=" + text + "\n", "device"};
    Result result;
    find(result, std::move(image));
    CHECK((result.image.vmcoreinfo->origin == "device") == kept);
  }
}

TEST_CASE("kernel: one that lies below the usual place has no KASLR offset that could be told") {
  const KernelMemory::Layout layout{.image_gva = 0xffffffff80200000};
  KernelMemory memory(layout);
  Result result;
  find(result, memory.image({memory.root()}));
  REQUIRE(result.found);
  CHECK(result.image.kernel.phys_base.has_value());
  CHECK(!result.image.kernel.kaslr_offset.has_value());
}

TEST_CASE("kernel: a direct map that does not agree with memory gives no address") {
  KernelMemory memory({});
  // The last page of memory is mapped from elsewhere.
  memory.map(memory.root(), 0xffff91c0c0000000 + KernelMemory::kSize - (2 << 20), 0, true);
  Result result;
  find(result, memory.image({memory.root()}));
  REQUIRE(result.found);
  CHECK(!result.image.kernel.page_offset.has_value());
  CHECK(!result.image.kernel.image.empty());
}

TEST_CASE("kernel: without a banner there is none") {
  for (const std::string_view banner : {"", "Linux version %s (%s)\n", "Linux version 6.1.0"}) {
    KernelMemory memory({.banner = banner});
    Result result;
    find(result, memory.image({memory.root()}));
    CHECK(!result.found);
    CHECK(!result.image.kernel.phys_base.has_value());
  }
}

TEST_CASE("kernel: the banner with a build number is the one that was booted") {
  KernelMemory memory({.banner = "Linux version 6.1.0-9-test (me@here) # SMP\n"});
  memory.put(0x4 << 20 | 0x50000, "Linux version 6.1.0-9-test (me@here) #7 SMP\n");
  Result result;
  find(result, memory.image({memory.root()}));
  CHECK(result.image.kernel.banner == "Linux version 6.1.0-9-test (me@here) #7 SMP");
}

TEST_CASE("kernel: page tables that refer to themselves come to an end") {
  KernelMemory memory({});
  for (std::uint64_t i = 0; i < 512; ++i) memory.put_u64(0x200000 + 8 * i, 0x200000 | 0x63);
  Result result;
  find(result, memory.image({0x200000}));
  CHECK(!result.found);
}

}  // namespace
}  // namespace vmconvert
