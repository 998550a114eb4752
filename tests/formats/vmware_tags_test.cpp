#include "support/checkpoint_builder.h"
#include "support/encoded_ram.h"
#include "support/test.h"
#include "vmware/checkpoint.h"

namespace vmconvert::test {
namespace {

using vmware::Checkpoint;
using vmware::Coding;
using vmware::Group;
using vmware::Tag;

// docs/formats/vmware.md, "A complete small file".
Bytes small_file() {
  CheckpointBuilder file;
  file.group("cpu")
      .number("cpu:numVCPUs", {}, 1)
      .number("rip", {0}, 0xffffffff81000000, 8)
      .block("gpregs", {0}, from_hex("00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f"),
             {.padding = 2});
  file.group("memory").regions({{0, 1, 1}});
  return file.bytes();
}

Checkpoint open(Bytes bytes) {
  return Checkpoint(std::make_shared<MemorySource>("input", std::move(bytes)));
}

/// "group/label@offset+size" of each tag, and the errors of groups.
std::vector<std::string> listing(const Checkpoint& checkpoint) {
  std::vector<std::string> lines;
  checkpoint.walk_all(
      [&](const Group& group, const Tag& tag) {
        lines.push_back(group.name + "/" + vmware::label(tag) + "@" +
                        hex(tag.stored.begin().value) + "+" + std::to_string(tag.stored_size));
        return true;
      },
      [&](const Group&, const Error& error) { lines.emplace_back(error.what()); });
  return lines;
}

Tag only_tag(const Checkpoint& checkpoint) {
  Tag found;
  checkpoint.walk(checkpoint.groups().front(), [&](const Tag& tag) {
    found = tag;
    return true;
  });
  return found;
}

TEST_CASE("vmware tags: the complete small file of the format page") {
  const Bytes bytes = small_file();
  CHECK(bytes.size() == 339);
  CHECK(Bytes(bytes.begin(), bytes.begin() + 12) ==
        from_hex("d2 be d2 be 08 00 00 00 02 00 00 00"));
  const Checkpoint checkpoint = open(bytes);
  CHECK(checkpoint.magic() == 0xbed2bed2);
  CHECK(checkpoint.version() == 8);
  CHECK(checkpoint.word_size() == 8);
  CHECK_FALSE(checkpoint.word_size_differs());
  CHECK(listing(checkpoint) ==
        std::vector<std::string>{"cpu/cpu:numVCPUs@0xba+4", "cpu/rip[0]@0xc7+8",
                                 "cpu/gpregs[0]@0xef+16", "memory/regionsCount@0x10f+4",
                                 "memory/regionPageNum[0]@0x126+4", "memory/regionPPN[0]@0x139+4",
                                 "memory/regionSize[0]@0x14d+4"});
  const Group* cpu = checkpoint.find("cpu");
  REQUIRE(cpu != nullptr);
  CHECK(cpu->length == 0x55);
  checkpoint.walk(*cpu, [&](const Tag& tag) {
    if (tag.name == "rip") CHECK(checkpoint.number(tag) == 0xffffffff81000000);
    return tag.name != "rip";
  });
  CHECK(checkpoint.find("CPU") == nullptr);
}

TEST_CASE("vmware tags: every magic, and the width of block sizes by what makes sense") {
  const auto widths = [](std::uint32_t magic, unsigned size) {
    CheckpointBuilder file;
    file.magic = magic;
    file.word_size = size;
    file.group("a").block("block", {1, 2, 3}, Bytes(300, std::byte{7}));
    file.group("b").number("n", {}, 1).block("x", {}, Bytes(5)).number("m", {}, 2, 1);
    const Checkpoint checkpoint = open(file.bytes());
    CHECK(listing(checkpoint).size() == 4);
    CHECK(checkpoint.word_size() == size);
    return checkpoint.word_size_differs();
  };
  for (const std::uint32_t magic :
       {0xbed2bed2U, 0xbed3bed3U, 0xbad1bad1U, 0xbad2bad2U, 0xbed1bed1U}) {
    CHECK_FALSE(widths(magic, 8));
    CHECK(widths(magic, 4));
  }
  for (const std::uint32_t magic : {0xbed2bed0U, 0xbed0bed0U, 0xbad0bad0U}) {
    CHECK_FALSE(widths(magic, 4));
    CHECK(widths(magic, 8));
  }
}

TEST_CASE("vmware tags: odd names, sizes and indices") {
  CheckpointBuilder file;
  file.group("");
  file.group(std::string(64, 'g'))
      .value("", {1}, {})
      .value("empty", {}, {})
      .value(std::string(255, 'n'), {}, Bytes(61, std::byte{9}))
      .number("n", {}, 0x1234, 2)
      .number("n", {1}, 0x56, 1)
      .value("three", {}, Bytes(3))
      .block("evil\x1b[31m/../x", {4000000000}, {});
  const Checkpoint checkpoint = open(file.bytes());
  REQUIRE(checkpoint.groups().size() == 2);
  CHECK(checkpoint.groups()[1].name == std::string(64, 'g'));
  std::vector<Tag> tags;
  checkpoint.walk(checkpoint.groups()[1], [&](const Tag& tag) {
    tags.push_back(tag);
    return true;
  });
  REQUIRE(tags.size() == 7);
  CHECK(vmware::label(tags[0]) == "[1]");
  CHECK(checkpoint.number(tags[1]) == std::nullopt);
  CHECK(checkpoint.bytes(tags[1], 0).empty());
  CHECK(checkpoint.bytes(tags[2], 61) == Bytes(61, std::byte{9}));
  CHECK(checkpoint.number(tags[3]) == 0x1234);
  CHECK(checkpoint.number(tags[4]) == 0x56);
  CHECK(checkpoint.number(tags[5]) == std::nullopt);
  CHECK(vmware::label(tags[6]) == "\"evil\\x1b[31m/../x\"[4000000000]");
}

TEST_CASE("vmware tags: text ends at its first NUL, and no more is read than was asked for") {
  CheckpointBuilder file;
  Bytes text = from_hex("56 4d 00 41");
  file.group("a").block("ProductName", {}, text);
  const Checkpoint checkpoint = open(file.bytes());
  const Tag tag = only_tag(checkpoint);
  CHECK(checkpoint.text(tag, 4) == "VM");
  CHECK(error_of([&] { checkpoint.text(tag, 3); }) ==
        "input: offset 0x5c: ProductName has 4 bytes, 3 at most are read");
}

TEST_CASE("vmware tags: a compressed block is expanded, or refused by name") {
  const auto value = [](const Bytes& stored, std::uint64_t memory_size) {
    CheckpointBuilder file;
    file.group("a").block("x", {}, stored, {.compressed = true, .memory_size = memory_size});
    const Checkpoint checkpoint = open(file.bytes());
    const Tag tag = only_tag(checkpoint);
    CHECK(tag.coding == Coding::compressed);
    CHECK(checkpoint.number(tag).has_value() == (stored.size() == 4 && memory_size == 4));
    return checkpoint.bytes(tag, 100000);
  };
  const Bytes plain(5000, std::byte{42});
  CHECK(value(plain, plain.size()) == plain);
  CHECK(value(zlib_of(plain), plain.size()) == plain);
  CHECK(value(from_hex("78 01 02 03"), 4) == from_hex("78 01 02 03"));
  const auto error = [&](const Bytes& stored, std::uint64_t memory_size) {
    return error_of([&] { value(stored, memory_size); });
  };
  CHECK(error(Bytes(40), 100) == "input: offset 0x5c: x is compressed in an unknown way");
  CHECK(error(zlib_of(plain), 4999) == "input: offset 0x5c: x is damaged: zlib data is damaged");
  CHECK(error(zlib_of(plain), 5001) == "input: offset 0x5c: x is damaged: zlib data is damaged");
  CHECK(error(zlib_of(plain), 100001) ==
        "input: offset 0x5c: x has 100001 bytes, 100000 at most are read");
}

TEST_CASE("vmware tags: a table that cannot be is refused") {
  const Bytes bytes = small_file();
  const auto error_with = [&](std::size_t at, std::string_view hex_bytes) {
    Bytes damaged = bytes;
    const Bytes patch = from_hex(hex_bytes);
    std::copy(patch.begin(), patch.end(), damaged.begin() + static_cast<std::ptrdiff_t>(at));
    return error_of([&] { open(damaged); });
  };
  CHECK(error_with(0, "00") ==
        "input: offset 0x0: magic 0xbed2be00 is not that of a VMware checkpoint");
  CHECK(error_with(8, "05") ==
        "input: offset 0x8: number of groups 5 is more than the file can hold");
  CHECK(error_with(8, "ff ff ff ff") ==
        "input: offset 0x8: number of groups 4294967295 is more than the file can hold");
  CheckpointBuilder many;
  for (unsigned i = 0; i < 4097; ++i) many.group("g");
  CHECK(error_of([&] { open(many.bytes()); }) ==
        "input: offset 0x8: number of groups 4097 is more than the 4096 that are read");
}

TEST_CASE("vmware tags: damage of a group spoils that group only") {
  CheckpointBuilder file;
  file.group("inside table").at(12);
  file.group("past").at(1 << 20);
  file.group("wraps")
      .number("a", {}, 1)
      .block("b", {}, Bytes(4), {.stored_size = ~std::uint64_t{40}});
  file.group("good").number("c", {}, 1);
  file.group("nothing").at(0);
  file.group("no end").number("d", {}, 1).unterminated();
  const auto lines = listing(open(file.bytes()));
  REQUIRE(lines.size() == 9);
  CHECK(lines[0] ==
        "input: offset 0x4c: offset of group \"inside table\" 0xc lies outside the data");
  CHECK(lines[1] == "input: offset 0x9c: offset of group \"past\" 0x100000 lies outside the data");
  CHECK(lines[2] == "wraps/a@0x1f3+4");
  CHECK(lines[3].starts_with("wraps/b@0x20c+18446744073709551575"));
  CHECK(lines[4].starts_with(
      "input: offset 0x20c: block b is cut off: 18446744073709551575 bytes wanted, "));
  CHECK(lines[5] == "good/c@0x215+4");
  CHECK(lines[6].starts_with("input: offset "));
  CHECK(lines[6].ends_with("lies outside the data"));
  CHECK(lines[7].starts_with("no end/d"));
  CHECK(lines[8].ends_with("tag is cut off: 1 bytes wanted, 0 left"));
}

TEST_CASE("vmware tags: lists that are shared too often are refused") {
  CheckpointBuilder file;
  file.group("first");
  for (unsigned i = 0; i < 2000; ++i) file.value("", {1}, {});
  const std::size_t first = 12 + 80 * 100;
  for (unsigned i = 1; i < 100; ++i) file.group("again").at(first);
  CHECK(error_of([&] {
          listing(open(file.bytes()));
        }).ends_with("and those before it share their tags"));
}

}  // namespace
}  // namespace vmconvert::test
