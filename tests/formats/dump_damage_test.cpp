#include <algorithm>

#include "support/elf_builder.h"
#include "support/failing_io.h"
#include "support/image_bytes.h"
#include "support/kdump_builder.h"
#include "support/qevm_builder.h"
#include "support/reading.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

/// A small file of one format, and where it may end early without an error.
struct Sample {
  std::string name;
  Bytes bytes;
  std::vector<std::size_t> complete{};
};

Bytes easy(unsigned seed, std::size_t size = 4096) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(seed + i % 7);
  return bytes;
}

ElfDump elf_sample() {
  ElfDump dump;
  dump.notes = elf_note("CORE", 1, Bytes(20, std::byte{1}));
  const Bytes text = elf_note("VMCOREINFO", 0, as_bytes("OSRELEASE=6\n"));
  dump.notes.insert(dump.notes.end(), text.begin(), text.end());
  dump.loads = {{.paddr = 0x1000, .content = easy(1, 300)},
                {.paddr = 0x1100, .offset = 0, .filesz = 44},
                {.paddr = 0x8000, .content = easy(2, 100), .memsz = 200}};
  dump.loads[1].offset = dump.content_at() + 0x100;
  return dump;
}

Kdump kdump_sample() {
  Kdump dump;
  dump.notes = elf_note("CORE", 1, Bytes(336));
  const unsigned flags[] = {kStored, kZlib, kLzo, kSnappy, kZstd};
  for (unsigned i = 0; i < 5; ++i) dump.pages[2 * i] = {easy(i), flags[i]};
  dump.pages[11] = {Bytes(4096), kStored, true};
  dump.excluded = {20};
  dump.level = 31;
  return dump;
}

std::vector<Sample> samples() {
  const Bytes first = lime_record(0x1000, easy(1, 200)), second = lime_record(0x4000, easy(2, 100));
  Bytes lime = first;
  lime.insert(lime.end(), second.begin(), second.end());
  Bytes avml = avml_block(0x1000, easy(3, 2000), true, 1000);
  const std::size_t block = avml.size();
  const Bytes plain = avml_block(0x4000, easy(4, 300), false);
  avml.insert(avml.end(), plain.begin(), plain.end());
  const Bytes kdump = kdump_sample().bytes();
  return {{"elf", elf_sample().bytes()},
          {"kdump", kdump},
          {"flattened", flattened(kdump, 2048)},
          {"lime", lime, {first.size()}},
          {"avml", avml, {block}}};
}

/// Reads all memory of an image. @returns the message of the Error, "" if there is none
std::string read_all(const GuestImage& image) {
  const std::string error = error_of([&] {
    for (const GuestRange extent : image.runs.extents()) {
      if (extent.size() > 1 << 20) continue;
      Bytes bytes(extent.size());
      read_guest(image, extent.begin(), bytes);
    }
    for (const auto& source : image.sources) {
      Bytes bytes(std::min<std::uint64_t>(source->size(), 1 << 20));
      source->read_at({0}, bytes);
    }
  });
  return error == "no error" ? "" : error;
}

/// Zeros of headers are dull: what pads blocks means nothing.
bool is_dull(const Sample& sample, std::size_t at) {
  if (sample.bytes.size() < 10'000 || at % 61 == 0) return false;
  const std::size_t begin = at < 8 ? 0 : at - 8, end = std::min(at + 8, sample.bytes.size());
  return std::all_of(sample.bytes.begin() + static_cast<std::ptrdiff_t>(begin),
                     sample.bytes.begin() + static_cast<std::ptrdiff_t>(end),
                     [](std::byte b) { return b == std::byte{0}; });
}

TEST_CASE("damage: a dump cut anywhere is an error, and salvage gives true bytes") {
  for (const Sample& sample : samples()) {
    CAPTURE(sample.name);
    const ReadResult whole = read_bytes(sample.bytes);
    REQUIRE(whole.error == "");
    REQUIRE(read_all(*whole.image) == "");
    for (std::size_t size = 0; size < sample.bytes.size(); ++size) {
      if (is_dull(sample, size)) continue;
      CAPTURE(size);
      const Bytes cut(sample.bytes.begin(),
                      sample.bytes.begin() + static_cast<std::ptrdiff_t>(size));
      const bool complete =
          std::find(sample.complete.begin(), sample.complete.end(), size) != sample.complete.end();
      ReadResult result = read_bytes(cut);
      REQUIRE((result.error == "") == complete);
      result = read_bytes(cut, {.salvage = true});
      if (!result.image || complete) continue;
      REQUIRE(result.diagnostics->lost());
      for (const GuestRange extent : result.image->runs.extents()) {
        REQUIRE(guest_bytes(*result.image, extent.begin().value, extent.size()) ==
                guest_bytes(*whole.image, extent.begin().value, extent.size()));
      }
    }
  }
}

TEST_CASE("damage: a flipped byte of a dump is an error or an image that keeps its promises") {
  for (const Sample& sample : samples()) {
    CAPTURE(sample.name);
    for (std::size_t at = 0; at < sample.bytes.size(); ++at) {
      if (is_dull(sample, at)) continue;
      for (const unsigned pattern : {0x01U, 0x80U, 0xffU}) {
        CAPTURE(at);
        Bytes bytes = sample.bytes;
        bytes[at] ^= static_cast<std::byte>(pattern);
        ReadResult result = read_bytes(bytes);
        REQUIRE((result.image.has_value() != !result.error.empty()));
        if (result.image) read_all(*result.image);
        result = read_bytes(bytes, {.salvage = true});
        // What salvage keeps can be read.
        if (result.image) REQUIRE(read_all(*result.image) == "");
      }
    }
  }
}

TEST_CASE("damage: each failing read of a dump ends with its error") {
  for (const Sample& sample : samples()) {
    CAPTURE(sample.name);
    const auto memory = std::make_shared<MemorySource>("input", sample.bytes);
    for (std::uint64_t n = 1;; ++n) {
      CAPTURE(n);
      const auto source = std::make_shared<ThrowingSource>(memory, n);
      const ReadResult result = read_source(source, {.salvage = n % 2 == 0});
      if (!source->failed()) break;
      REQUIRE(result.kind == ErrorKind::io);
      REQUIRE(result.error.ends_with("read: Input/output error"));
    }
  }
}

}  // namespace
}  // namespace vmconvert::test
