#include "support/pc_stream.h"
#include "support/reading.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

/// 16 pages of pc.ram and nothing else.
void check_small_pc(const ReadResult& result) {
  REQUIRE(result.error == "");
  CHECK(result.image->runs.extents() == std::vector{guest_range(0, 0x10000)});
  CHECK(are_pages(*result.image, 0, 0, 16));
  CHECK(!result.diagnostics->lost());
}

TEST_CASE("qevm: a stream given as bytes is its pages") {
  // One page of 4 KiB at offset 0x1000 of a block of 8 KiB.
  Bytes bytes = from_hex(
      "51 45 56 4d 00 00 00 03"                                               // QEVM, 3
      "07 00 00 00 0d 70 63 2d 69 34 34 30 66 78 2d 37 2e 32"                 // pc-i440fx-7.2
      "01 00 00 00 02 03 72 61 6d 00 00 00 00 00 00 00 04"                    // START 2 ram 0 v4
      "00 00 00 00 00 00 20 04 06 70 63 2e 72 61 6d 00 00 00 00 00 00 20 00"  // pc.ram 8 KiB
      "00 00 00 00 00 00 00 10 7e 00 00 00 02"                                // EOS, footer
      "03 00 00 00 02 00 00 00 00 00 00 10 08 06 70 63 2e 72 61 6d");         // END, page 0x1000
  const Bytes page = page_of(1);
  bytes.insert(bytes.end(), page.begin(), page.end());
  const Bytes rest = from_hex("00 00 00 00 00 00 00 10 7e 00 00 00 02 00");
  bytes.insert(bytes.end(), rest.begin(), rest.end());

  const ReadResult result = read_bytes(bytes);
  REQUIRE(result.error == "");
  CHECK(result.image->runs.extents() == std::vector{guest_range(0, 0x2000)});
  CHECK(is_filled(*result.image, 0, 0));
  CHECK(is_page(*result.image, 0x1000, 1));
  // And the builder writes the same.
  CHECK(pc().ram_start({{"pc.ram", 8192, {}}})
            .ram_end(RamPayload().page("pc.ram", 4096, 1).eos())
            .eos()
            .bytes() == bytes);
}

TEST_CASE("qevm: footers and description are there or not") {
  check_small_pc(read_bytes(small_pc().eos().description().bytes()));
  check_small_pc(read_bytes(small_pc().eos().bytes()));
  check_small_pc(read_bytes(small_pc(16, "pc-i440fx-2.3", false).eos().description().bytes()));
  check_small_pc(read_bytes(small_pc(16, "pc-i440fx-2.3", false).eos().bytes()));
}

TEST_CASE("qevm: a stream of a machine type before 2.4 has no configuration") {
  const ReadResult result = read_bytes(small_pc(16, "", false)
                                           .device("0000:00:00.0/I440FX", Bytes(300))
                                           .eos()
                                           .description()
                                           .bytes());
  check_small_pc(result);
  CHECK(result.has_decision("machine type unknown (before 2.4), board i440fx"));
}

TEST_CASE("qevm: configuration subsections of an x86 guest are understood") {
  QevmBuilder stream = pc("pc-q35-rhel9.4.0");
  stream.target_page_bits(12).capabilities({"some-capability", "another"}).uuid();
  stream.ram_start(RamPayload().blocks({{"pc.ram", 0x10000, {}}}).pages("pc.ram", 0, 0, 16).eos());
  const ReadResult result = read_bytes(stream.ram_end().eos().description().bytes());
  check_small_pc(result);
  CHECK(result.has_decision("machine type pc-q35-rhel9.4.0, board q35"));
}

TEST_CASE("qevm: commands are skipped with their data") {
  QevmBuilder stream = pc("pc-i440fx-10.0");
  stream.command(3, Bytes(16)).ram_start({{"pc.ram", 0x10000, {}}});
  stream.ram_part(RamPayload().pages("pc.ram", 0, 0, 16).eos());
  stream.command(0x0b).ram_end().command(0x7f, Bytes(300));
  check_small_pc(read_bytes(stream.eos().description().bytes()));
}

TEST_CASE("qevm: a background snapshot has device state behind RAM and no END") {
  QevmBuilder stream = pc().ram_start({{"pc.ram", 0x10000, {}}});
  stream.ram_part(RamPayload().pages("pc.ram", 0, 0, 10).eos());
  stream.ram_part(RamPayload().pages("pc.ram", 0xa000, 10, 6).eos());
  stream.device("timer", Bytes(24)).eos().description();
  check_small_pc(read_bytes(stream.bytes()));
}

TEST_CASE("qevm: padding and stale bytes behind the stream do not matter") {
  for (const std::size_t size : {std::size_t{1}, std::size_t{1000}, std::size_t{200'000}}) {
    CAPTURE(size);
    const QevmBuilder stream = small_pc().device("timer", Bytes(24)).eos().description();
    check_small_pc(read_bytes(QevmBuilder(stream).padding(size).bytes()));
    check_small_pc(read_bytes(QevmBuilder(stream).padding(size, 0xcc).bytes()));
    check_small_pc(read_bytes(QevmBuilder(stream).padding(size).padding(7, '}').bytes()));
    const QevmBuilder without = small_pc().device("timer", Bytes(24)).eos();
    check_small_pc(read_bytes(QevmBuilder(without).padding(size).bytes()));
  }
}

TEST_CASE("qevm: a stream behind a foreign header is found") {
  for (const std::size_t offset : {std::size_t{1}, std::size_t{4096}, std::size_t{60'000}}) {
    CAPTURE(offset);
    const ReadResult result = read_bytes(
        ByteWriter().fill(offset, 0x51).append(small_pc().eos().description().bytes()).bytes());
    check_small_pc(result);
    CHECK(result.has_decision("the stream begins at offset " + hex(offset)));
  }
}

TEST_CASE("qevm: an empty START and pages in every phase are one guest") {
  QevmBuilder stream = pc();
  stream.ram_start(RamPayload().blocks({{"pc.ram", 0x10000, {}}}).pages("pc.ram", 0, 0, 4).eos());
  stream.ram_part(RamPayload().eos());
  stream.ram_part(RamPayload().pages("pc.ram", 0x4000, 4, 4).eos());
  stream.ram_end(RamPayload().pages("pc.ram", 0x8000, 8, 8).eos());
  check_small_pc(read_bytes(stream.eos().bytes()));
}

TEST_CASE("qevm: what was decided is told") {
  const ReadResult result = read_bytes(small_pc().eos().bytes());
  std::string decisions;
  for (const auto& text : result.diagnostics->of(Diagnostics::Level::decision)) {
    decisions += text + "\n";
  }
  CHECK(decisions ==
        "input: machine type pc-i440fx-7.2, board i440fx\n"
        "input: 64 KiB of RAM from address 0 on (from the rule of machine type pc-i440fx-7.2)\n"
        "input: 64 KiB of guest memory in 1 run and 1 extent\n"
        "input: registers of 0 vCPUs\n"
        "input: no VMCOREINFO: the guest did not announce one to the vmcoreinfo device\n");
}

}  // namespace
}  // namespace vmconvert::test
