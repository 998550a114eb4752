#include "info_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "support/collecting_diagnostics.h"
#include "support/failing_io.h"
#include "support/test.h"

namespace vmconvert::cli {
namespace {

using nlohmann::json;

const Snapshot kFirst{"1", "before", 1764045000, 12'345'678'901, 4096};
const Snapshot kDiskOnly{"2", "disk", 0, 0, 0};
const Snapshot kSecond{"3", "after", 1764045060, 0, 8192};

std::vector<Snapshot> table;  // what the format below holds
int reads = 0;

Format format_with_table() {
  return {.name = "several",
          .summary = "an input with several states",
          .probe = [](const ProbeWindow&) noexcept { return Match::yes; },
          .read =
              [](const Input& input, const ReadOptions&, Diagnostics& diagnostics) {
                ++reads;
                diagnostics.warn(input.source()->name(), "be careful");
                diagnostics.loss(input.source()->name(), 16, "a page is lost");
                GuestImage image;
                image.metadata.machine = "machine";
                return image;
              },
          .snapshots = [](const Input&) { return table; }};
}

InfoReport report_of(std::vector<Snapshot> snapshots, const std::string& chosen = "") {
  table = std::move(snapshots);
  reads = 0;
  test::CollectingDiagnostics console;
  ReportedDiagnostics diagnostics(console);
  const Input input(std::make_shared<MemorySource>("in", std::vector<std::byte>(5)), false);
  InfoReport report = make_report(input, format_with_table(), {.snapshot = chosen}, diagnostics);
  CHECK(diagnostics.lost() == (reads != 0));
  CHECK(console.lost() == (reads != 0));
  return report;
}

TEST_CASE("info: of several states none is read unless it is chosen") {
  const InfoReport all = report_of({kFirst, kDiskOnly, kSecond});
  CHECK(reads == 0);
  CHECK(!all.image);
  const json shown = json::parse(info_json(all));
  CHECK(shown["guest"].is_null());
  REQUIRE(shown["snapshots"].size() == 3);
  CHECK(shown["snapshots"][0] == json{{"id", "1"},
                                      {"name", "before"},
                                      {"date", "2025-11-25T04:30:00Z"},
                                      {"vm_clock_ns", 12'345'678'901},
                                      {"state_size", 4096}});
  CHECK(shown["snapshots"][1]["date"].is_null());
  const std::string text = info_text(all);
  CHECK(text.find("\nSaved states\n"
                  "  1           before\n"
                  "              2025-11-25T04:30:00Z, guest ran 12 seconds, 4 KiB of state\n"
                  "  2           disk\n"
                  "              no date, guest ran 0 seconds, disk only, no memory\n") !=
        std::string::npos);
  CHECK(text.find("Architecture") == std::string::npos);

  CHECK(report_of({kFirst, kSecond}, "after").image);
  CHECK(reads == 1);
}

TEST_CASE("info: the only state is read") {
  const InfoReport report = report_of({kDiskOnly, kSecond});
  CHECK(reads == 1);
  CHECK(report.image);
}

TEST_CASE("info: an input without a state has a table all the same") {
  CHECK(!report_of({kDiskOnly}).image);
  const InfoReport report = report_of({});
  CHECK(reads == 0);
  CHECK(json::parse(info_json(report))["snapshots"] == json::array());
  CHECK(info_text(report).find("\nSaved states\n  none\n") != std::string::npos);
}

TEST_CASE("info: losses and warnings are in the report") {
  const InfoReport report = report_of({kFirst});
  CHECK(report.losses == std::vector<std::string>{"offset 0x10: a page is lost"});
  CHECK(report.warnings == std::vector<std::string>{"be careful"});
  const json shown = json::parse(info_json(report));
  CHECK(shown["complete"] == false);
  CHECK(info_text(report).find("\nLost\n  - offset 0x10: a page is lost\n") != std::string::npos);
}

InfoReport report_of(GuestImage image) {
  return {"in", 5, "qevm", "a stream", std::nullopt, std::move(image), {}, {}};
}

TEST_CASE("info: registers, kernel and numbers of 64 bits") {
  GuestImage image;
  X86Registers registers;
  registers.rip = 0xffffffffa4e592eb;
  registers.cr3 = ~std::uint64_t{0};
  image.vcpus.push_back(registers);
  image.vmcoreinfo = Vmcoreinfo{
      "NOSRELEASE=no\nOSRELEASE=6.1.0-56-amd64\nBUILD-ID=eb4f\nPAGESIZE=4096\nCRASHTIME=1764045000",
      "a test"};
  image.kernel.banner = "Linux version 6.1.0";
  image.kernel.phys_base = {-0x1000, "a walk"};
  image.kernel.page_offset = {0xffff888000000000, "another"};
  image.metadata.blocks.push_back({"b", ~std::uint64_t{0}, {}});
  const json guest = json::parse(info_json(report_of(std::move(image))))["guest"];
  CHECK(guest["vcpus"][0]["registers"]["rip"] == "0xffffffffa4e592eb");
  CHECK(guest["vcpus"][0]["registers"]["cr3"] == "0xffffffffffffffff");
  CHECK(guest["blocks"][0]["size"] == ~std::uint64_t{0});
  CHECK(guest["kernel"] ==
        json{{"release", "6.1.0-56-amd64"},
             {"build_id", "eb4f"},
             {"crash_time", "2025-11-25T04:30:00Z"},
             {"origin", "a test"},
             {"banner", "Linux version 6.1.0"},
             {"page_tables", nullptr},
             {"phys_base", {{"value", "-0x1000"}, {"origin", "a walk"}}},
             {"kaslr_offset", nullptr},
             {"direct_map", {{"value", "0xffff888000000000"}, {"origin", "another"}}}});
}

/// A guest whose memory cannot be read, with page tables in it and a VMCOREINFO that was found
/// before.
GuestImage read_damaged(const Input&, const ReadOptions&, Diagnostics&) {
  GuestImage image;
  image.sources.push_back(std::make_shared<test::ThrowingSource>(
      std::make_shared<MemorySource>("in", std::vector<std::byte>(1 << 20)), 1));
  RunListBuilder runs(4096);
  runs.add({GuestRange::sized({0}, 1 << 20), InFile{.source = 0, .stride = 4096, .at = {0}}});
  image.runs = runs.finish();
  X86Registers registers;
  registers.cr0 = 0x80050033;
  registers.cr3 = 0x2000;
  image.vcpus.push_back(registers);
  image.vmcoreinfo = Vmcoreinfo{"OSRELEASE=6.1\n", "device"};
  return image;
}

TEST_CASE("info: damaged guest memory hides nothing but the kernel") {
  test::CollectingDiagnostics console;
  ReportedDiagnostics diagnostics(console);
  const Input input(std::make_shared<MemorySource>("in", std::vector<std::byte>(5)), false);
  const Format format{.name = "damaged", .summary = "", .probe = nullptr, .read = read_damaged};
  const InfoReport report = make_report(input, format, {}, diagnostics);
  REQUIRE(report.image.has_value());
  CHECK(report.image->vmcoreinfo->origin == "device");
  REQUIRE(report.warnings.size() == 1);
  CHECK(report.warnings[0] ==
        "the guest's kernel cannot be looked at: in: offset 0x2000: read: Input/output error");
}

/// Anything a file may hold as text.
std::string random_text(std::uint32_t& state) {
  constexpr std::string_view kAlphabet("\0\x1b\n\r\t\"\\ ax%\x7f\x80\x9b\xc2\xc3\xa4\xed\xff", 20);
  const auto random = [&] { return (state = state * 1664525 + 1013904223) >> 16; };
  std::string text;
  for (std::uint32_t n = random() % 90; n != 0; --n) text += kAlphabet[random() % kAlphabet.size()];
  return text;
}

TEST_CASE("info: whatever text an input holds, JSON is JSON and a terminal shows it") {
  std::uint32_t state = 7;
  for (int i = 0; i < 300; ++i) {
    GuestImage image;
    const auto next = [&] { return random_text(state); };
    image.metadata.machine = next();
    for (int k = 0; k < 3; ++k) {
      image.metadata.facts.push_back({next(), next()});
      image.metadata.blocks.push_back({next(), state, {GuestRange::sized({state}, 4096)}});
      image.metadata.devices.push_back({next(), state, state, state});
      image.attachments.push_back({Attachment::Kind::other, next(), next(), SourceBytes{}});
    }
    image.vmcoreinfo = Vmcoreinfo{"OSRELEASE=" + next() + "\nBUILD-ID=" + next(), next()};
    InfoReport report = report_of(std::move(image));
    report.file = next();
    report.snapshots = std::vector{Snapshot{next(), next(), state, state, state}};
    report.warnings.push_back(next());
    const std::string as_json = info_json(report);
    CHECK(json::accept(as_json));
    CHECK(std::all_of(as_json.begin(), as_json.end(),
                      [](char c) { return c == '\n' || (c >= 0x20 && c < 0x7f); }));
    const std::string text = info_text(report);
    std::string one_line = text;
    std::replace(one_line.begin(), one_line.end(), '\n', ' ');
    CHECK(printable(one_line) == one_line);
  }
}

TEST_CASE("info: very many ranges of a block are cut short for people and complete for programs") {
  GuestImage image;
  image.metadata.blocks.push_back({"vmem", 1 << 30, {}});
  for (std::uint64_t i = 0; i < 1000; ++i)
    image.metadata.blocks[0].guest.push_back(GuestRange::sized({i << 22}, 1 << 21));
  const InfoReport report = report_of(std::move(image));
  CHECK(info_text(report).find("and 992 more ranges\n") != std::string::npos);
  CHECK(json::parse(info_json(report))["guest"]["blocks"][0]["guest"].size() == 1000);
}

}  // namespace
}  // namespace vmconvert::cli
