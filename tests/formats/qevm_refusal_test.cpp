#include "support/pc_stream.h"
#include "support/reading.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

struct Refusal {
  ErrorKind kind;
  std::string message;  ///< behind "input: offset 0x..: "
};

/// Both refuse with and without salvage what no salvage can mend.
void check_refused(const QevmBuilder& stream, std::uint64_t offset, const Refusal& refusal) {
  const ReadResult result = read_bytes(stream.bytes());
  CHECK(result.error == "input: offset " + hex(offset) + ": " + refusal.message);
  CHECK(result.kind == refusal.kind);
}

constexpr ErrorKind kCorrupt = ErrorKind::corrupt;
constexpr ErrorKind kUnsupported = ErrorKind::unsupported;

TEST_CASE("refused: a head that is not of version 3") {
  check_refused(QevmBuilder().header(2), 4, {kUnsupported, "version is 2; only 3 is known"});
  check_refused(QevmBuilder().header(4), 4, {kUnsupported, "version is 4; only 3 is known"});
  check_refused(QevmBuilder().header(0x03000000), 4,
                {kUnsupported, "version is 50331648; only 3 is known"});
}

TEST_CASE("refused: one connection of a multifd migration") {
  QevmBuilder packet;
  check_refused(packet.raw(from_hex("11223344 00000001")).padding(100), 0,
                {kUnsupported,
                 "magic is that of one connection of a multifd migration, not of a save"});
}

TEST_CASE("refused: a stream without content, whose pages went through other connections") {
  for (const char* firmware : {"pc.bios", "system.flash0", "virt.flash0", "/rom@etc/acpi/rsdp"}) {
    CAPTURE(firmware);
    QevmBuilder stream = pc().ram_start({{"pc.ram", 8192, {}}, {firmware, 4096, {}}});
    stream.ram_end(RamPayload().zero("pc.ram", 0).eos());
    const std::uint64_t end = stream.size();
    check_refused(stream.eos(), end,
                  {kUnsupported,
                   "stream has no page with content, not even of the firmware: they went through "
                   "other connections (multifd)"});
  }
}

TEST_CASE("refused: elements that cannot be where they are") {
  const QevmBuilder head = pc();
  const std::uint64_t end = head.size();
  for (const unsigned type : {0x06U, 0x09U, 0x7eU, 0xffU}) {
    QevmBuilder stream = head;
    check_refused(stream.padding(1, type), end,
                  {kCorrupt, "element type " + hex(type) + " is unknown here"});
  }
  check_refused(QevmBuilder(head).part(9, {}), end + 1,
                {kCorrupt, "section id 9 was never started"});
  check_refused(QevmBuilder(head).eos(), end, {kCorrupt, "stream ends without a \"ram\" section"});
  check_refused(QevmBuilder(head).configuration("pc"), end,
                {kCorrupt, "configuration does not come first"});
}

TEST_CASE("refused: a configuration that is impossible") {
  check_refused(QevmBuilder().header().configuration(""), 9,
                {kCorrupt, "machine type length is impossible"});
  check_refused(QevmBuilder().header().configuration(std::string(256, 'x')), 9,
                {kCorrupt, "machine type length is impossible"});
  const std::uint64_t subsection = pc().size();
  const std::uint64_t fields = subsection + 1 + 1 + 30 + 4;
  for (const unsigned bits : {0U, 9U, 17U, 0xffffffffU}) {
    check_refused(pc().target_page_bits(bits), fields,
                  {kCorrupt, "target page bits are not within 10 to 16"});
  }
  check_refused(pc().configuration_subsection("configuration/n\x1b", {}), subsection + 1 + 1 + 16,
                {kUnsupported, "configuration subsection \"configuration/n\\x1b\" is unknown"});
}

TEST_CASE("refused: RAM sections of other versions and second ones") {
  const std::uint64_t version = pc().size() + 1 + 4 + 1 + 3 + 4;
  for (const unsigned v : {2U, 3U, 5U}) {
    check_refused(pc().ram_start(RamPayload().eos(), v), version,
                  {kUnsupported, "version " + std::to_string(v) +
                                     " of section \"ram\" is not supported; only 4 is"});
  }
  QevmBuilder twice = pc().ram_start({{"pc.ram", 4096, {}}});
  const std::uint64_t second = twice.size() + 1 + 4 + 1 + 3 + 4;
  check_refused(twice.start(3, "ram", 4, RamPayload().eos().bytes()), second,
                {kCorrupt, "section \"ram\" starts twice"});
  QevmBuilder same_id = pc().ram_start({{"pc.ram", 4096, {}}});
  const std::uint64_t id = same_id.size() + 1 + 4 + 1 + 12 + 4;
  check_refused(same_id.start(2, "dirty-bitmap", 1, from_hex("01")), id,
                {kCorrupt, "section id 2 starts twice"});
}

TEST_CASE("refused: a section without a name") {
  const std::uint64_t at = pc().size() + 5;
  check_refused(pc().start(3, "", 1, {}), at, {kCorrupt, "section name length is zero"});
}

TEST_CASE("refused: footers that are missing or name another section") {
  QevmBuilder missing = pc().ram_start({{"pc.ram", 4096, {}}});
  const std::uint64_t at = missing.size() + 5 + 8;
  check_refused(missing.raw(from_hex("02 00000002 00000000 00000010 00")), at,
                {kCorrupt, "section footer is missing"});
  QevmBuilder other = pc().ram_start({{"pc.ram", 4096, {}}});
  check_refused(other.raw(from_hex("02 00000002 00000000 00000010 7e 00000003")), at + 1,
                {kCorrupt, "section footer names section 3 instead of 2"});
}

TEST_CASE("refused: a device section without an end") {
  QevmBuilder stream = small_pc(2).device("timer", Bytes(24));
  const ReadResult result = read_bytes({stream.bytes().begin(), stream.bytes().end() - 5});
  CHECK(result.kind == kCorrupt);
  CHECK(result.error.ends_with("device section \"timer\" has no footer: the stream ends early"));
}

/// Where the first byte of a START's RAM payload lies.
std::uint64_t payload_begin() { return pc().size() + 1 + 4 + 1 + 3 + 4 + 4; }

QevmBuilder start_of(const RamPayload& payload) { return pc().ram_start(payload); }

TEST_CASE("refused: block lists that are impossible") {
  const std::uint64_t begin = payload_begin();
  check_refused(start_of(RamPayload().blocks({{"", 4096, {}}})), begin + 8,
                {kCorrupt, "RAM block name length is zero"});
  check_refused(start_of(RamPayload().blocks({{"a", 4096, {}}, {"a", 4096, {}}})),
                begin + 8 + 10 + 2, {kCorrupt, "RAM block name \"a\" comes twice"});
  check_refused(
      start_of(RamPayload().raw(0x2004, ByteWriter().counted_text("a").be64(0x3000).bytes())),
      begin + 10,
      {kCorrupt, "RAM block length is more than the sum of all blocks, 0x2000, allows"});
  const std::uint64_t huge = (std::uint64_t{1} << 52) + 4096;
  check_refused(
      start_of(RamPayload().blocks({{"a", huge, {}}})), begin + 10,
      {kCorrupt, "RAM block length is more than the sum of all blocks, " + hex(huge) + ", allows"});
  check_refused(start_of(RamPayload().blocks({{"a", 4096, {}}}).blocks({{"b", 4096, {}}})),
                begin + 8 + 10, {kCorrupt, "RAM block list comes twice"});
  check_refused(start_of(RamPayload().blocks({{"a", 4095, {}}, {"b", 4097, {}}})), begin + 10,
                {kCorrupt, "RAM block length 0xfff is not a multiple of the page size"});
}

TEST_CASE("refused: more blocks than any guest has") {
  std::vector<BlockEntry> blocks;
  for (int i = 0; i < 65'537; ++i) blocks.push_back({"block " + std::to_string(i), 4096, {}});
  const ReadResult result = read_bytes(start_of(RamPayload().blocks(blocks)).bytes());
  CHECK(result.kind == kCorrupt);
  CHECK(result.error.ends_with("RAM block list has too many blocks"));
}

TEST_CASE("refused: a shared block at an odd address") {
  QevmBuilder stream = pc().capabilities({"x-ignore-shared"});
  const std::uint64_t at = stream.size() + 17 + 8 + 7 + 8;
  stream.ram_start({{"pc.ram", 4096, ByteWriter().be64(1).bytes()}});
  check_refused(stream, at, {kCorrupt, "RAM block address of \"pc.ram\" is not page-aligned"});
}

/// A record of this word behind the list of one block of four pages.
void check_record(std::uint64_t word, const Refusal& refusal, std::uint64_t offset = 0,
                  const Bytes& rest = {}) {
  CAPTURE(hex(word));
  const RamPayload list = RamPayload().blocks({{"pc.ram", 4 * 4096, {}}});
  const std::uint64_t at = payload_begin() + list.bytes().size();
  check_refused(start_of(RamPayload(list).raw(word, rest)), at + offset, refusal);
}

TEST_CASE("refused: encodings of pages that are not known") {
  const auto holds = [](const std::string& what) {
    return Refusal{kUnsupported, "RAM record holds " + what + ", which is not supported"};
  };
  check_record(0x80, holds("an RDMA record"));
  check_record(0x01, holds("a record of a format last written in 2009"));
  check_record(0x200, {kUnsupported,
                       "RAM record holds a mark of a multifd migration, whose pages went through "
                       "other connections"});
}

TEST_CASE("refused: flags that are unknown or exclude each other") {
  check_record(0x400, {kCorrupt, "RAM record has unknown flags 0x400"});
  check_record(0x808, {kCorrupt, "RAM record has unknown flags 0x808"});
  check_record(0x0a, {kCorrupt, "RAM record combines flags 0xa"});
  check_record(0x18, {kCorrupt, "RAM record combines flags 0x18"});
  check_record(0x20, {kCorrupt, "RAM record combines flags 0x20"});
  check_record(0x00, {kCorrupt, "RAM record combines flags 0x0"});
  check_record(0x0c, {kCorrupt, "RAM record combines flags 0xc"});
}

TEST_CASE("refused: pages that are in no block") {
  const Bytes name = ByteWriter().counted_text("pc.ram").fill(4096).bytes();
  check_record(0x4008,
               {kCorrupt, "page at 0x4000 lies outside its block \"pc.ram\" of 0x4000 bytes"}, 9,
               name);
  check_record(0xfffffffffffff008,
               {kCorrupt,
                "page at 0xfffffffffffff000 lies outside its block "
                "\"pc.ram\" of 0x4000 bytes"},
               9, name);
  check_record(0x08, {kCorrupt, "page's block name \"vga\\x00\" is not in the block list"}, 9,
               ByteWriter().u8(4).text("vga").u8(0).fill(4096).bytes());
  check_record(0x28, {kCorrupt, "RAM record continues a block, but none was named yet"}, 0,
               Bytes(4096));
}

TEST_CASE("refused: machines that are not known") {
  const auto message = [](std::string_view machine, std::string_view block) {
    QevmBuilder stream = pc(machine).ram_start({{std::string(block), 4096, {}}}).ram_end().eos();
    const ReadResult result = read_bytes(stream.bytes());
    CHECK(result.kind == kUnsupported);
    return result.error;
  };
  const std::string rest =
      " is not supported; if you know it, say where its RAM lies with --block NAME=ADDRESS; it "
      "has ";
  CHECK(message("virt-10.0", "loongarch.ram") ==
        "input: machine type \"virt-10.0\"" + rest + "loongarch.ram (4 KiB)");
  CHECK(message("malta", "mips_malta.ram") ==
        "input: machine type \"malta\"" + rest + "mips_malta.ram (4 KiB)");
  CHECK(message("pseriesx", "ppc_spapr.ram") ==
        "input: machine type \"pseriesx\"" + rest + "ppc_spapr.ram (4 KiB)");
  CHECK(message("p\xc3", "x") == "input: machine type \"p\\xc3\"" + rest + "x (4 KiB)");
  CHECK(message("", "loongarch.ram") ==
        "input: the stream names no machine type and its RAM is of no known one; if you know it, "
        "say where its RAM lies with --block NAME=ADDRESS; it has loongarch.ram (4 KiB)");
}

}  // namespace
}  // namespace vmconvert::test
