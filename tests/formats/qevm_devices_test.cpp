#include <chrono>

#include "qemu/qevm_stream.h"
#include "support/device_payloads.h"
#include "support/pc_stream.h"
#include "support/reading.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

struct Section {
  std::string name;
  std::uint32_t instance;
  std::uint64_t size;
  friend bool operator==(const Section&, const Section&) = default;
};

struct Parsed {
  std::vector<Section> sections;
  std::string error;
  bool all_sized = true;
};

Parsed parse(const QevmBuilder& stream) {
  const MemorySource source("input", stream.bytes());
  CollectingDiagnostics diagnostics;
  Parsed result;
  result.error = error_of([&] {
    const auto parsed =
        qemu::parse_qevm(source, FileRange::sized({0}, source.size()), false, diagnostics);
    for (const auto& section : parsed.sections) {
      result.sections.push_back({section.idstr, section.instance_id, section.payload.size()});
      result.all_sized = result.all_sized && section.sized;
    }
  });
  return result;
}

/// Devices whose payloads hold what looks like footers, ends and headers.
QevmBuilder tricky(bool footers = true) {
  QevmBuilder stream = small_pc(2, "pc-i440fx-7.2", footers);
  stream.device("timer", Bytes(24));
  // The id of this section is 11: a footer of it that nothing valid follows.
  stream.device("0000:00:01.1/piix3-ide",
                ByteWriter().fill(9, 1).u8(0x7e).be32(11).u8(0).fill(600, 3).bytes());
  stream.device("empty", {});
  stream.device("cpu", ByteWriter().u8(0x7e).be32(13).text("\x04").fill(700, 0xff).bytes(),
                {.instance = 5, .version = 12});
  return stream;
}

const std::vector<Section> kTricky{
    {"timer", 0, 24}, {"0000:00:01.1/piix3-ide", 0, 615}, {"empty", 0, 0}, {"cpu", 5, 706}};

TEST_CASE("devices: the description gives each section its size") {
  const Parsed parsed = parse(tricky().eos().description());
  CHECK(parsed.error == "no error");
  CHECK(parsed.sections == kTricky);
}

TEST_CASE("devices: without a description the footers do") {
  for (const std::size_t padding : {0U, 1U, 100'000U}) {
    const Parsed parsed = parse(tricky().eos().padding(padding));
    CHECK(parsed.error == "no error");
    CHECK(parsed.sections == kTricky);
  }
}

TEST_CASE("devices: the description is enough without footers") {
  const Parsed parsed = parse(tricky(false).eos().description());
  CHECK(parsed.error == "no error");
  CHECK(parsed.sections == kTricky);
}

TEST_CASE("devices: a description that is wrong gives way to the footers") {
  for (const int wrong : {0, 1, 23, 25, 1'000'000}) {
    CAPTURE(wrong);
    QevmBuilder stream = small_pc(2);
    stream.device("timer", Bytes(24), {.described = wrong}).device("other", Bytes(7));
    const Parsed parsed = parse(stream.eos().description());
    CHECK(parsed.error == "no error");
    CHECK(parsed.sections == std::vector<Section>{{"timer", 0, 24}, {"other", 0, 7}});
  }
}

TEST_CASE("devices: arrays and subsections count as the description's rules say") {
  QevmBuilder stream = small_pc(2, "pc-i440fx-2.3", false);
  // 3 x 4 + 2 + a struct of 5 + a subsection of 1 + 1 + 7 + 4 + 8 that has one of 6 + 3 + 1.
  stream.device("a", Bytes(12 + 2 + 5 + 13 + 8 + 9 + 1, std::byte{0x5a}),
                {.description = R"("fields": [
                   {"name": "x", "type": "uint32", "size": 4, "array_len": 3},
                   {"name": "y", "type": "uint16", "size": 2, "index": 7},
                   {"name": "z", "type": "struct", "size": 5, "struct": {"vmsd_name": "i",
                      "fields": [{"name": "j", "size": 5}],
                      "subsections": [{"vmsd_name": "counted already", "fields": []}]}}],
                 "subsections": [{"vmsd_name": "a/small", "version": 1,
                   "fields": [{"name": "q", "size": 8}],
                   "subsections": [{"vmsd_name": "abc", "fields": [{"name": "r", "size": 1}]}]}])"});
  stream.device("b", Bytes(3, std::byte{0x5b}));
  const Parsed parsed = parse(stream.eos().description());
  CHECK(parsed.error == "no error");
  CHECK(parsed.sections == std::vector<Section>{{"a", 0, 50}, {"b", 0, 3}});
}

TEST_CASE("devices: instances of one name have sizes of their own") {
  QevmBuilder stream = small_pc(2);
  stream.device("cpu", Bytes(10, std::byte{1}), {.instance = 0});
  stream.device("cpu", Bytes(20, std::byte{1}), {.instance = 1});
  stream.device("cpu", Bytes(30, std::byte{1}), {.instance = 0x80000000});
  CHECK(parse(stream.eos().description()).sections ==
        std::vector<Section>{{"cpu", 0, 10}, {"cpu", 1, 20}, {"cpu", 0x80000000, 30}});
}

TEST_CASE("devices: a description that is no JSON gives way to the footers") {
  for (const std::string_view json :
       {std::string_view("{}"), std::string_view("{"), std::string_view("{\"devices\": 1}"),
        std::string_view("{\"devices\": [1]}"), std::string_view("{\"devices\": [{}]}"),
        std::string_view("{\"devices\": [{\"name\": 1, \"fields\": {}}]}"),
        std::string_view("{\"devices\": [{\"name\": \"timer\", \"fields\": [{\"size\": -1}]}]}"),
        std::string_view("{\xff}")}) {
    CAPTURE(json);
    const Parsed parsed = parse(tricky().eos().description(json));
    CHECK(parsed.error == "no error");
    CHECK(parsed.sections == kTricky);
  }
}

TEST_CASE("devices: a description nested too deeply is not used") {
  const std::string deep(100'000, '[');
  const Parsed parsed =
      parse(tricky().eos().description(R"({"devices": )" + deep + std::string(100'000, ']') + "}"));
  CHECK(parsed.error == "no error");
  CHECK(parsed.sections == kTricky);
}

TEST_CASE("devices: numbers of a description that overflow are not believed") {
  QevmBuilder stream = small_pc(2);
  stream.device("timer", Bytes(24), {.description = R"("fields": [
      {"size": 9223372036854775809, "array_len": 2}, {"size": 22}])"});
  CHECK(parse(stream.eos().description()).sections == std::vector<Section>{{"timer", 0, 24}});
}

TEST_CASE("devices: a description of every length is found behind padding") {
  // Its four length bytes end in a zero byte or not.
  for (const std::size_t length : {2U, 255U, 256U, 257U, 65535U, 65536U, 70'000U, 200'000U}) {
    CAPTURE(length);
    QevmBuilder stream = small_pc(2, "pc-i440fx-2.3", false);
    stream.device("timer", Bytes(24, std::byte{9})).eos();
    std::string json = R"({"devices": [{"name": "timer", "fields": [{"size": 24}]}])";
    if (json.size() + 1 > length) continue;
    json += std::string(length - json.size() - 1, ' ') + "}";
    const Parsed parsed = parse(stream.description(json).padding(100'000));
    CHECK(parsed.error == "no error");
    CHECK(parsed.sections == std::vector<Section>{{"timer", 0, 24}});
    CHECK(parsed.all_sized);
  }
}

TEST_CASE("devices: without footers and description sections are found by their headers") {
  QevmBuilder stream = pc("", false).ram_start({{"pc.ram", 3 * kGiB, {}}});
  stream.ram_end(RamPayload().page("pc.ram", 0, 1).page("pc.ram", 2 * kGiB, 2).eos());
  stream.device("timer", Bytes(24, std::byte{0x04}));
  stream.device("0000:00:00.0/I440FX", i440fx_state({.smram = 0x4a}), {.version = 3});
  stream.device("padding", Bytes(600'000, std::byte{0x41}));
  stream.device("mc146818rtc", rtc_state(2 * kGiB, kGiB), {.version = 3});
  const ReadResult result = read_bytes(stream.eos().bytes());
  REQUIRE(result.error == "");
  CHECK(result.has_decision(
      "no section footers and no device description: 4 device sections found by their headers"));
  CHECK(result.image->runs.extents() ==
        std::vector{guest_range(0, 2 * kGiB), guest_range(4 * kGiB, 5 * kGiB)});
  CHECK(is_page(*result.image, 0, 1));
  CHECK(is_page(*result.image, 4 * kGiB, 2));
}

TEST_CASE("devices: a headers' search sees sections at every distance from its steps") {
  // The search goes in steps of 256 KiB; the header lies around the end of one.
  for (std::size_t size = 262'144 - 320; size < 262'144 + 320; size += 13) {
    CAPTURE(size);
    QevmBuilder stream = small_pc(2, "pc-i440fx-2.3", false);
    stream.device("filler", Bytes(size, std::byte{0x41}));
    stream.device("mc146818rtc", rtc_state(kGiB, 0));
    const Parsed parsed = parse(stream.eos());
    REQUIRE(parsed.sections.size() == 2);
    REQUIRE(parsed.sections[1].name == "mc146818rtc");
  }
}

TEST_CASE("devices: many sections with a long description take no time to speak of") {
  QevmBuilder stream = small_pc(2);
  for (int i = 0; i < 20'000; ++i) stream.device("d", {}, {.instance = 7});
  std::string json = R"({"devices": [{})";
  for (int i = 0; i < 200'000; ++i) json += R"(,{"name":"d"})";
  const auto begin = std::chrono::steady_clock::now();
  const Parsed parsed = parse(stream.eos().description(json + "]}"));
  CHECK(parsed.error == "no error");
  CHECK(parsed.sections.size() == 20'000);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(20));
}

TEST_CASE("devices: a footer is found at every distance from the steps of the search") {
  for (std::size_t size = 65'536 - 20; size < 65'536 + 20; ++size) {
    CAPTURE(size);
    QevmBuilder stream = small_pc(2);
    stream.device("filler", Bytes(size, std::byte{0x41})).device("timer", Bytes(24));
    const Parsed parsed = parse(stream.eos());
    REQUIRE(parsed.sections == std::vector<Section>{{"filler", 0, size}, {"timer", 0, 24}});
  }
}

}  // namespace
}  // namespace vmconvert::test
