#include "qemu/device_fields.h"

#include <string>

#include "support/byte_writer.h"
#include "support/test.h"
#include "vmconvert/io/byte_source.h"

namespace vmconvert::test {
namespace {

using qemu::DeviceField;
using qemu::DeviceFields;
using qemu::DeviceState;
using qemu::find_field;

/// A description with one device, "dev" instance 0, of these members.
std::string described(const std::string& members) {
  return R"({"page_size": 4096, "devices": [{"name": "dev", "instance_id": 0, "version": 1, )" +
         members + "}]}";
}

const std::string kState =
    R"("vmsd_name": "d", "fields": [
  {"name": "a", "type": "uint8", "size": 1},
  {"name": "regs", "type": "uint16", "array_len": 3, "size": 2},
  {"name": "unused[0]", "type": "unused_buffer", "size": 2},
  {"name": "unused[1]", "type": "unused_buffer", "size": 1},
  {"name": "inner", "type": "struct", "size": 13, "struct": {"vmsd_name": "i", "version": 1,
    "fields": [{"name": "x", "type": "uint32", "size": 4}],
    "subsections": [{"vmsd_name": "i.e", "version": 1,
      "fields": [{"name": "y", "type": "uint8", "size": 0}, {"name": "z", "type": "uint8", "size": 0}]}]}},
  {"name": "pairs", "type": "struct", "array_len": 2, "size": 3, "struct": {"fields": [
    {"name": "k", "type": "uint8", "size": 1}, {"name": "v", "type": "uint16", "size": 2}]}},
  {"name": "slot", "index": 0, "type": "struct", "size": 1, "struct": {}},
  {"name": "slot", "index": 1, "type": "struct", "size": 2,
    "struct": {"fields": [{"name": "w", "type": "uint16", "size": 2}]}},
  {"name": "t", "type": "tmp", "vmsd_name": "t", "version": 1,
    "fields": [{"name": "inline", "type": "uint8", "size": 1}], "size": 1},
  {"name": "list", "type": "qtailq", "vmsd_name": "q", "fields": [{"name": "no", "size": 1}],
    "fields": [{"name": "no", "size": 1}], "size": 5}
], "subsections": [
  {"vmsd_name": "d/one", "version": 1, "fields": [{"name": "s", "type": "bool", "size": 1}]},
  {"vmsd_name": "two", "version": 1, "fields": [{"name": "u", "type": "uint64", "size": 8}],
   "subsections": [{"vmsd_name": "2.1", "fields": [{"name": "deep", "type": "uint8", "size": 1}]}]}
])";

std::uint64_t offset_of(const std::string& path) {
  const auto fields = DeviceFields::parse(described(kState));
  REQUIRE(fields);
  const DeviceField* root = fields->find("dev", 0);
  REQUIRE(root != nullptr);
  const auto place = find_field(*root, path);
  return place ? place->offset : 9999;
}

TEST_CASE("device fields: offsets of plain fields, arrays, structures and subsections") {
  CHECK(offset_of("a") == 0);
  CHECK(offset_of("regs") == 1);
  CHECK(offset_of("regs[0]") == 1);
  CHECK(offset_of("regs[2]") == 5);
  CHECK(offset_of("unused[0]") == 7);
  CHECK(offset_of("unused[1]") == 9);
  CHECK(offset_of("inner") == 10);
  CHECK(offset_of("inner/x") == 10);
  CHECK(offset_of("inner/i.e/z") == 10 + 4 + 6 + 3);
  CHECK(offset_of("pairs[1]/v") == 23 + 3 + 1);
  CHECK(offset_of("slot[0]") == 29);
  CHECK(offset_of("slot[1]/w") == 30);
  CHECK(offset_of("t/inline") == 32);
  CHECK(offset_of("list") == 33);
  CHECK(offset_of("d/one/s") == 38 + (6 + 5));
  CHECK(offset_of("two/u") == 38 + (6 + 5 + 1) + (6 + 3));
  CHECK(offset_of("two/2.1/deep") == 38 + 12 + 9 + 8 + (6 + 3));
  for (const char* path : {"", "b", "regs[3]", "regs[-1]", "regs[]", "regs[x]", "regs[1", "a[1]",
                           "a/x", "inner/", "/a", "slot[2]", "list/no", "d/on/s"}) {
    CAPTURE(path);
    CHECK(offset_of(path) == 9999);
  }
}

TEST_CASE("device fields: the sum of all parts is the size of the state") {
  const auto fields = DeviceFields::parse(described(kState));
  REQUIRE(fields);
  CHECK(fields->find("dev", 0)->size == 38 + 12 + 9 + 8 + 9 + 1);
  CHECK(fields->find("dev", 1) == nullptr);
  CHECK(fields->find("de", 0) == nullptr);
}

TEST_CASE("device fields: of twins the first counts") {
  const auto fields = DeviceFields::parse(
      R"({"devices": [{"name": "n", "instance_id": 4, "fields": [{"name": "a", "size": 1}]},
                      {"name": "n", "instance_id": 4, "fields": [{"name": "a", "size": 2}]}]})");
  REQUIRE(fields);
  CHECK(fields->find("n", 4)->size == 1);
  CHECK(!fields->has_configuration());
  CHECK(DeviceFields::parse(R"({"configuration": {}, "devices": []})")->has_configuration());
}

struct Section {
  MemorySource source;
  qemu::DeviceSection section;
  DeviceFields fields;
  DeviceState state() const { return {source, section, *fields.find("dev", 0)}; }
};

Section section_of(const Bytes& before, const Bytes& payload, const std::string& members) {
  Bytes bytes = before;
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  auto fields = DeviceFields::parse(described(members));
  REQUIRE(fields);
  return {{"input", bytes},
          {"dev", 0, 1, FileRange::sized({before.size()}, payload.size()), true},
          std::move(*fields)};
}

TEST_CASE("device state: numbers are big-endian and come in four sizes") {
  const Section s = section_of(
      from_hex("ff ff"), from_hex("01 0203 04050607 08090a0b0c0d0e0f 101112 a1a2b1b2"),
      R"("fields": [{"name": "b", "size": 1}, {"name": "h", "size": 2}, {"name": "w", "size": 4},
                    {"name": "q", "size": 8}, {"name": "odd", "size": 3},
                    {"name": "two", "size": 2, "array_len": 2}])");
  const DeviceState state = s.state();
  CHECK(state.number("b") == 0x01);
  CHECK(state.number("h") == 0x0203);
  CHECK(state.number("w") == 0x04050607);
  CHECK(state.number("q") == 0x08090a0b0c0d0e0f);
  CHECK(!state.number("odd"));
  CHECK(!state.number("two"));
  CHECK(state.number("two[1]") == 0xb1b2);
  CHECK(state.numbers("two") == std::vector<std::uint64_t>{0xa1a2, 0xb1b2});
  CHECK(!state.numbers("odd"));
  CHECK(!state.numbers("two", 3));
  CHECK(state.bytes("odd") == from_hex("101112"));
  CHECK(!state.bytes("odd", 2));
  CHECK(state.range("two") == FileRange::sized({2 + 18}, 4));
  CHECK(!state.has("none"));
}

TEST_CASE("device state: a field beyond the payload is not there") {
  const std::string members =
      R"("fields": [{"name": "a", "size": 2}, {"name": "b", "size": 2},
                    {"name": "huge", "size": 18446744073709551615, "array_len": 18446744073709551615},
                    {"name": "after", "size": 1}])";
  for (std::size_t size = 0; size <= 5; ++size) {
    CAPTURE(size);
    const Section s = section_of({}, Bytes(size, std::byte{1}), members);
    CHECK(s.state().has("a") == (size >= 2));
    CHECK(s.state().has("b") == (size >= 4));
    CHECK(!s.state().has("huge"));
    CHECK(!s.state().has("huge[7]"));
    CHECK(!s.state().has("after"));
  }
}

TEST_CASE("device fields: what is no description is nothing") {
  for (
      const std::string json :
      {"", "x", "{}", "[]", R"({"devices": 1})", R"({"devices": [1]})", R"({"devices": [{}]})",
       R"({"devices": [{"name": 1, "fields": 2, "subsections": {}}]})",
       R"({"devices": [{"fields": [1, [], {"size": -1, "array_len": "x"}], "subsections": [1]}]})"}) {
    CAPTURE(json);
    const auto fields = DeviceFields::parse(json);
    if (fields) CHECK(fields->find("", 0)->size == 0);
  }
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += R"({"fields": [{"type": "tmp", "fields": [)";
  CHECK(!DeviceFields::parse(deep));
}

TEST_CASE("device fields: a description of more than any machine has is not taken") {
  const auto with = [](std::size_t count) {
    std::string json = R"("fields": [{})";
    for (std::size_t i = 1; i < count; ++i) json += ",{}";
    return described(json + "]");
  };
  CHECK(DeviceFields::parse(with(1U << 19)));
  CHECK(!DeviceFields::parse(with((1U << 19) + 1)));
}

}  // namespace
}  // namespace vmconvert::test
