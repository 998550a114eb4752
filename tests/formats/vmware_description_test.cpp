#include "support/checkpoint_builder.h"
#include "support/reading.h"
#include "support/test.h"
#include "vmware/dictionary.h"

namespace vmconvert::test {
namespace {

constexpr std::uint64_t kPage = 4096;
const ReadOptions kDetails{.details = true, .memory_needed = false};
const ReadOptions kRecords{.details = true, .records = true, .memory_needed = false};

Bytes text(std::string_view characters, std::size_t size = 0) {
  Bytes bytes = ByteWriter().text(characters).bytes();
  bytes.resize(std::max(size, bytes.size()));
  return bytes;
}

CheckpointBuilder described() {
  CheckpointBuilder file;
  file.group("Checkpoint")
      .number("fileversion", {}, 10)
      .block("ProductName", {}, text("VMware ESX", 256))
      .block("VersionNumber", {}, text("4.1.0", 256))
      .block("BuildNumber", {}, text("build-260247", 256))
      .number("Platform", {}, 1)
      .number("memSize", {}, 6144);
  file.group("cpu").number("cpu:numVCPUs", {}, 2);
  file.group("anything")
      .number("vm.powerOnTimeStamp.clientData", {}, 1289510438, 8)
      .number("vm.suspendTime.clientData", {}, 0, 8);
  file.group("Snapshot")
      .block("cfgFile", {},
             text(".encoding = \"UTF-8\"\n displayname= \"a \xc3\xa4 \"b\" c\"\r\n"
                  "# uuid.bios = \"no\"\nguestOS = \"debian10-64\"\nannotation\n"
                  "firmware = \"efi\nannotation = \"\"\nGuestOS = \"second\""));
  return file;
}

std::vector<std::string> facts(const GuestImage& image) {
  std::vector<std::string> lines;
  for (const Fact& fact : image.metadata.facts) lines.push_back(fact.key + "=" + fact.value);
  return lines;
}

TEST_CASE("vmware description: facts of the state and its configuration") {
  const ReadResult result = read_bytes(described().bytes(), kDetails);
  REQUIRE(result.image);
  CHECK(result.image->metadata.machine == "VMware ESX 4.1.0");
  CHECK(facts(*result.image) ==
        std::vector<std::string>{"vmware.product=VMware ESX", "vmware.version=4.1.0",
                                 "vmware.build=build-260247", "vmware.platform=x86",
                                 "vmware.state=normal", "vmware.format_version=8",
                                 "vmware.file_version=10", "vmware.memory_size=6442450944",
                                 "vmware.vcpus=2", "vmware.powered_on=2010-11-11T21:20:38Z",
                                 "vmx.name=a \xc3\xa4 \"b\" c", "vmx.guest_os=debian10-64"});
}

TEST_CASE("vmware description: what a state does not tell is left out") {
  CheckpointBuilder file;
  file.magic = 0xbad1bad1;
  file.group("Checkpoint")
      .block("ProductName", {}, Bytes(5000, std::byte{'x'}))
      .number("Platform", {}, 77)
      .number("memSize", {}, ~std::uint64_t{0}, 8);
  const ReadResult result = read_bytes(file.bytes(), kDetails);
  REQUIRE(result.image);
  CHECK(result.image->metadata.machine.empty());
  CHECK(facts(*result.image) == std::vector<std::string>{"vmware.platform=77",
                                                         "vmware.state=restored once",
                                                         "vmware.format_version=8"});
  CHECK(result.has_warning("ProductName has 5000 bytes, 4096 at most are read"));
}

TEST_CASE("vmware description: regions with their place in the guest and in the file") {
  CheckpointBuilder file;
  file.group("memory").regions({{1, 0, 1}, {0, 0x100000, 1}});
  file.block("Memory", {0, 0}, Bytes(2 * kPage, std::byte{7}), {.alignment = 65536});
  const ReadResult result = read_bytes(file.bytes(), kDetails);
  REQUIRE(result.image);
  const auto found = facts(*result.image);
  REQUIRE(found.size() == 4);
  CHECK(found[2] == "vmware.region=0x0-0x1000 is 0x11000-0x12000 of input");
  CHECK(found[3] == "vmware.region=0x100000000-0x100001000 is 0x10000-0x11000 of input");
}

TEST_CASE("vmware description: every group and tag is a record") {
  const Bytes bytes = described().bytes();
  const ReadResult result = read_bytes(bytes, kRecords);
  REQUIRE(result.image);
  REQUIRE(result.image->metadata.records);
  const RecordList& list = *result.image->metadata.records;
  REQUIRE(list.groups.size() == 4);
  const RecordGroup& group = list.groups[0];
  CHECK(group.name == "Checkpoint");
  CHECK(group.at.value == 12 + 4 * 80);
  CHECK(group.damage.empty());
  REQUIRE(group.records.size() == 6);
  CHECK(group.records[0].name == "fileversion");
  CHECK(group.records[0].indices.empty());
  CHECK(group.records[0].number == 10);
  CHECK(group.records[0].place == FileRange::sized(group.at + 2 + 11, 4));
  CHECK(!group.records[1].number);
  CHECK(group.records[1].size == 256);
  CHECK(group.at.value + group.size == list.groups[1].at.value);
}

TEST_CASE("vmware description: records of tags with indices, packed, and cut off") {
  CheckpointBuilder file;
  file.group("a")
      .number("three", {1, 2, 0xffffffff}, 0x123456, 2)
      .block("packed", {}, text("????"), {.compressed = true, .memory_size = 99});
  file.group("b").block("cut", {}, text("12345"), {.stored_size = 100}).unterminated();
  const ReadResult result = read_bytes(file.bytes(), kRecords);
  REQUIRE(result.image);
  const auto& groups = result.image->metadata.records.value().groups;
  CHECK(groups.at(0).records.at(0).indices == std::vector<std::uint32_t>{1, 2, 0xffffffff});
  CHECK(groups[0].records[0].number == 0x3456);
  const Record& packed = groups[0].records.at(1);
  CHECK(packed.encoded);
  CHECK(packed.size == 99);
  CHECK(packed.place.size() == 4);
  const Record& cut = groups.at(1).records.at(0);
  CHECK(cut.size == 100);
  CHECK(cut.place.size() == 5);
  CHECK(groups[1].damage.find("block cut") != std::string::npos);
  CHECK(result.has_warning("; the rest of group \"b\" is not shown"));
}

TEST_CASE("vmware description: very many tags and damaged groups are cut short") {
  CheckpointBuilder many;
  many.group("many");
  Bytes tags;
  for (int i = 0; i < 200'003; ++i)
    tags.insert(tags.end(), {std::byte{0}, std::byte{1}, std::byte{'x'}});
  many.raw(tags);
  const ReadResult result = read_bytes(many.bytes(), kRecords);
  REQUIRE(result.image);
  CHECK(result.image->metadata.records.value().groups.at(0).records.size() == 200'000);
  CHECK(result.has_warning("input: has 200003 tags, of which the first 200000 are listed"));

  CheckpointBuilder damaged;
  for (int i = 0; i < 20; ++i) damaged.group("g").at(1 << 30);
  const ReadResult other = read_bytes(damaged.bytes(), kRecords);
  REQUIRE(other.image);
  CHECK(other.has_warning("input: 12 more groups cannot be read whole"));
  CHECK(other.image->metadata.records.value().groups.at(19).damage.find("lies outside the data") !=
        std::string::npos);
}

TEST_CASE("vmware description: lists that groups share without end are told of") {
  CheckpointBuilder file;
  file.group("first");
  Bytes tags;
  for (int i = 0; i < 3000; ++i)
    tags.insert(tags.end(), {std::byte{0}, std::byte{1}, std::byte{'x'}});
  file.raw(tags);
  const std::uint64_t begin = 12 + 80 * 31;
  for (int i = 0; i < 30; ++i) file.group("g").at(begin);
  const ReadResult result = read_bytes(file.bytes(), kRecords);
  REQUIRE(result.image);
  CHECK(result.has_warning("share their tags; not all of them are shown"));
}

TEST_CASE("vmware description: a dictionary is lines of keys and quoted values") {
  const vmware::Dictionary list(
      "a=\"1\"\nB.c =\t \"x = \"y\"\" # z\r\n#d = \"2\"\ne = 3\nf = \"\n= \"4\"");
  CHECK(list.find("A") == "1");
  CHECK(list.find("b.C") == "x = \"y\"");
  CHECK(!list.find("d"));
  CHECK(!list.find("e"));
  CHECK(!list.find("f"));
  CHECK(!list.find(""));
  CHECK(!vmware::Dictionary("").find("a"));
}

}  // namespace
}  // namespace vmconvert::test
