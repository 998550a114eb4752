#include "support/compress.h"
#include "support/libvirt_builder.h"
#include "support/pc_stream.h"
#include "support/reading.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

std::vector<std::string> facts(const GuestImage& image, std::string_view key) {
  std::vector<std::string> values;
  for (const Fact& fact : image.metadata.facts) {
    if (fact.key == key) values.push_back(fact.value);
  }
  return values;
}

/// The content of an attachment that is a part of a source.
std::string text_of(const GuestImage& image, const Attachment& attachment) {
  const auto& place = std::get<SourceBytes>(attachment.content);
  std::string text(place.range.size(), '\0');
  image.sources.at(place.source)
      ->read_at(place.range.begin(), std::as_writable_bytes(std::span(text)));
  return text;
}

std::string text_of(const GuestImage& image, std::string_view name) {
  for (const Attachment& attachment : image.attachments) {
    if (attachment.name == name) return text_of(image, attachment);
  }
  return "no such attachment";
}

using Texts = std::vector<std::string>;
using Ranges = std::vector<GuestRange>;

TEST_CASE("metadata: a stream tells machine, version, capabilities and UUID") {
  QevmBuilder stream = pc("pc-q35-10.0");
  stream.uuid().capabilities({"postcopy-setup", "other"});
  stream.ram_start({{"pc.ram", 4 * kMiB, {}}}).ram_end().eos();
  const ReadResult result = read_bytes(stream.bytes());
  REQUIRE(result.error == "");
  CHECK(result.image->metadata.machine == "pc-q35-10.0");
  CHECK(facts(*result.image, "qevm.version") == Texts{"3"});
  CHECK(facts(*result.image, "machine.capability") == Texts{"postcopy-setup", "other"});
  CHECK(facts(*result.image, "machine.uuid") == Texts{"a5a5a5a5-a5a5-a5a5-a5a5-a5a5a5a5a5a5"});
}

TEST_CASE(
    "metadata: blocks are listed in the order of the stream, with the places that are known") {
  QevmBuilder stream = pc();
  stream.ram_start({{"pc.ram", 4 * kMiB, {}}, {"0000:00:02.0/vga.vram", kMiB, {}}});
  stream.ram_end().eos();
  const ReadResult result = read_bytes(stream.bytes());
  REQUIRE(result.error == "");
  const auto& blocks = result.image->metadata.blocks;
  REQUIRE(blocks.size() == 2);
  CHECK(blocks[0].name == "pc.ram");
  CHECK(blocks[0].size == 4 * kMiB);
  CHECK(blocks[0].guest == Ranges{guest_range(0, 0xa0000), guest_range(0xc0000, 4 * kMiB)});
  CHECK(blocks[1].name == "0000:00:02.0/vga.vram");
  CHECK(blocks[1].size == kMiB);
  CHECK(blocks[1].guest.empty());
}

TEST_CASE(
    "metadata: a block that the guest sees at two places has both, one of several nodes its own") {
  QevmBuilder stream = pc();
  stream
      .ram_start(
          {{"ram-node0", 2 * kGiB, {}}, {"ram-node1", 2 * kGiB, {}}, {"vga.vram", 4 * kKiB, {}}})
      .ram_end()
      .eos();
  const ReadResult result = read_bytes(stream.bytes(), {.below_4g = 3 * kGiB});
  REQUIRE(result.error == "");
  const auto& blocks = result.image->metadata.blocks;
  REQUIRE(blocks.size() == 3);
  CHECK(blocks[0].guest == Ranges{guest_range(0, 0xa0000), guest_range(0xc0000, 2 * kGiB)});
  CHECK(blocks[1].guest ==
        Ranges{guest_range(2 * kGiB, 3 * kGiB), guest_range(4 * kGiB, 5 * kGiB)});
}

TEST_CASE("metadata: devices come in the order of the stream, twins included") {
  QevmBuilder stream = small_pc();
  stream.device("timer", Bytes(24), {.version = 2});
  stream.device("cpu_common", Bytes(8), {.instance = 1});
  stream.device("0000:00:02.0/vga", Bytes(100), {.version = 2});
  stream.device("timer", Bytes(30), {.version = 3});
  const ReadResult result = read_bytes(stream.eos().description().bytes());
  REQUIRE(result.error == "");
  const auto& devices = result.image->metadata.devices;
  REQUIRE(devices.size() == 4);
  CHECK(devices[0].name == "timer");
  CHECK(devices[0].version == 2);
  CHECK(devices[0].size == 24);
  CHECK(devices[1].instance == 1);
  CHECK(devices[2].name == "0000:00:02.0/vga");
  CHECK(devices[2].size == 100);
  CHECK(devices[3].version == 3);
  CHECK(devices[3].size == 30);
}

TEST_CASE("metadata: the size of a section that was searched for is not known") {
  QevmBuilder stream = small_pc(16, "", false);
  const ReadResult result =
      read_bytes(stream.device("timer", Bytes(24), {.version = 2}).eos().bytes());
  REQUIRE(result.error == "");
  REQUIRE(result.image->metadata.devices.size() == 1);
  CHECK(result.image->metadata.devices[0].size == 0);
  CHECK(facts(*result.image, "guest.vm_clock_ns").empty());
}

TEST_CASE("metadata: how long the guest had run is in the section timer, version 2") {
  const Bytes state = ByteWriter().be64(1).be64(2).be64(0x123456789abc).bytes();
  for (const std::uint32_t version : {1U, 2U, 3U}) {
    const ReadResult result = read_bytes(
        small_pc().device("timer", state, {.version = version}).eos().description().bytes());
    REQUIRE(result.error == "");
    CHECK(facts(*result.image, "guest.vm_clock_ns") ==
          (version == 2 ? Texts{"20015998343868"} : Texts{}));
  }
  const Bytes negative = ByteWriter().be64(1).be64(2).be64(~std::uint64_t{0}).bytes();
  for (const Bytes& odd : {negative, Bytes(23)}) {
    const ReadResult result =
        read_bytes(small_pc().device("timer", odd, {.version = 2}).eos().description().bytes());
    REQUIRE(result.error == "");
    CHECK(facts(*result.image, "guest.vm_clock_ns").empty());
  }
}

TEST_CASE("metadata: the device description is attached byte for byte") {
  const std::string json = R"({"page_size": 4096, "devices": []})";
  for (const std::size_t padding : {0U, 1U, 4096U}) {
    const ReadResult result =
        read_bytes(small_pc().eos().description(json).padding(padding).bytes());
    REQUIRE(result.error == "");
    REQUIRE(result.image->attachments.size() == 1);
    const Attachment& attachment = result.image->attachments[0];
    CHECK(attachment.kind == Attachment::Kind::device_description);
    CHECK(attachment.media_type == "application/json");
    CHECK(text_of(*result.image, attachment) == json);
  }
}

TEST_CASE("metadata: what follows the end and is no whole description is left alone") {
  const Bytes cut = ByteWriter().u8(6).be32(100).text("{}").bytes();
  const Bytes huge = ByteWriter().u8(6).be32(0xffffffff).text("{}").bytes();
  const Bytes other = ByteWriter().u8(7).be32(2).text("{}").bytes();
  for (const Bytes& tail : {cut, huge, other, Bytes{std::byte{6}}, Bytes{}}) {
    const ReadResult result = read_bytes(small_pc().eos().raw(tail).bytes());
    REQUIRE(result.error == "");
    CHECK(result.image->attachments.empty());
  }
}

TEST_CASE("metadata: a libvirt save tells of its header and its domain") {
  const std::string xml =
      "<domain type='kvm' id='3'><name>a&lt;b</name><title>T</title><description>D</description>"
      "<uuid>7532eeca-4708-49e5-bc0a-86d25e89f28f</uuid><vcpu>2</vcpu>"
      "<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os></domain>";
  const LibvirtSave save{.xml = xml, .cookie = "<cookie/>", .stream = small_pc().eos().bytes()};
  const ReadResult result = read_bytes(save.bytes());
  REQUIRE(result.error == "");
  const GuestImage& image = *result.image;
  CHECK(facts(image, "libvirt.version") == Texts{"2"});
  CHECK(facts(image, "libvirt.format") == Texts{"raw"});
  CHECK(facts(image, "libvirt.was_running") == Texts{"yes"});
  CHECK(facts(image, "libvirt.cookie") == Texts{"yes"});
  CHECK(facts(image, "domain.name") == Texts{"a<b"});
  CHECK(facts(image, "domain.title") == Texts{"T"});
  CHECK(facts(image, "domain.description") == Texts{"D"});
  CHECK(facts(image, "domain.uuid") == Texts{"7532eeca-4708-49e5-bc0a-86d25e89f28f"});
  CHECK(facts(image, "domain.machine") == Texts{"pc-q35-7.2"});
  CHECK(text_of(image, "domain.xml") == xml);
  CHECK(text_of(image, "cookie.xml") == "<cookie/>");
  CHECK(image.sources.size() == 1);
}

TEST_CASE(
    "metadata: attachments of a compressed save are in the file, those of the stream are not") {
  const std::string json = R"({"devices": []})";
  const Bytes stream = small_pc().eos().description(json).bytes();
  const LibvirtSave save{
      .was_running = 0, .format = 1, .xml = "<domain/>", .stream = compress(Codec::gzip, stream)};
  const ReadResult result = read_bytes(save.bytes());
  REQUIRE(result.error == "");
  CHECK(facts(*result.image, "libvirt.format") == Texts{"gzip"});
  CHECK(facts(*result.image, "libvirt.was_running") == Texts{"no"});
  CHECK(facts(*result.image, "libvirt.cookie") == Texts{"no"});
  CHECK(text_of(*result.image, "domain.xml") == "<domain/>");
  CHECK(text_of(*result.image, "vmdescription.json") == json);
  CHECK(result.image->sources.size() == 2);
}

}  // namespace
}  // namespace vmconvert::test
