#include <algorithm>

#include "support/failing_io.h"
#include "support/pc_stream.h"
#include "support/qcow2_builder.h"
#include "support/reading.h"
#include "support/test.h"
#include "vmconvert/base/packed.h"

namespace vmconvert::test {
namespace {

// Offsets of this file are the format's own, written down once more: the builder knows them too.
constexpr std::size_t kSnapshotsOffsetField = 64;

Bytes state() { return small_pc(2).eos().bytes(); }

/// A state that packs well; its only page is soft_page(0).
Bytes soft_state() {
  QevmBuilder stream = pc().ram_start({{"pc.ram", 4096, {}}});
  const Bytes page = ByteWriter().counted_text("pc.ram").append(soft_page(0)).bytes();
  return stream.ram_part(RamPayload().raw(0x08, page).eos()).ram_end().eos().bytes();
}

Qcow2Image sound(std::uint32_t cluster_bits = 9) {
  Qcow2Image image{.cluster_bits = cluster_bits};
  image.snapshots.push_back({.state = state()});
  return image;
}

std::uint64_t be64_at(const Bytes& bytes, std::uint64_t at) {
  return load<std::uint64_t>(std::span(bytes).subspan(at, 8), std::endian::big);
}

Bytes patched(Bytes bytes, std::uint64_t at, const Bytes& with) {
  std::copy(with.begin(), with.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
  return bytes;
}
Bytes patched64(const Bytes& bytes, std::uint64_t at, std::uint64_t value) {
  return patched(bytes, at, ByteWriter().be64(value).bytes());
}
Bytes patched32(const Bytes& bytes, std::uint64_t at, std::uint64_t value) {
  return patched(bytes, at, ByteWriter().be32(value).bytes());
}

/// Where things lie in the image of one snapshot behind a disk of one or two L1 entries.
struct Places {
  explicit Places(const Bytes& bytes, std::uint64_t first_l1 = 2)
      : entry(be64_at(bytes, kSnapshotsOffsetField)),
        l1(be64_at(bytes, entry) + first_l1 * 8),
        l2(be64_at(bytes, l1) & 0x00ffffffffffffff) {}
  std::uint64_t entry, l1, l2;
};

std::string error_with_features(std::uint64_t features, const Bytes& extensions = {}) {
  Qcow2Image image = sound();
  image.more_features = features;
  image.extensions = extensions;
  return read_bytes(image.bytes()).error;
}

TEST_CASE("qcow2: header fields that cannot be") {
  const Bytes bytes = sound().bytes();
  const auto with32 = [&](std::uint64_t at, std::uint64_t value) {
    return read_bytes(patched32(bytes, at, value)).error;
  };
  CHECK(with32(4, 1) == "input: offset 0x4: version 1 is not supported (only 2 and 3 are)");
  CHECK(with32(4, 4) == "input: offset 0x4: version 4 is not supported (only 2 and 3 are)");
  CHECK(with32(20, 8) == "input: offset 0x14: cluster_bits 8 is not from 9 to 21");
  CHECK(with32(20, 22) == "input: offset 0x14: cluster_bits 22 is not from 9 to 21");
  CHECK(with32(20, 0xffffffff) ==
        "input: offset 0x14: cluster_bits 4294967295 is not from 9 to 21");
  CHECK(with32(32, 3) == "input: offset 0x20: crypt_method 3 is unknown");
  CHECK(with32(32, 1).starts_with("input: is encrypted (AES), the machine state too; let QEMU "));
  CHECK(with32(60, 65537) ==
        "input: offset 0x3c: nb_snapshots 65537 is more than the 65536 that QEMU reads");
  CHECK(with32(60, 0xffffffff) ==
        "input: offset 0x3c: nb_snapshots 4294967295 is more than the 65536 that QEMU reads");
  CHECK(with32(100, 96) == "input: offset 0x64: header_length 96 is impossible");
  CHECK(with32(100, 513) == "input: offset 0x64: header_length 513 is impossible");
  CHECK(with32(104, 0x01000000) ==
        "input: offset 0x68: compression_type contradicts incompatible_features bit 3");
  CHECK(with32(104, 0x02000000) == "input: offset 0x68: compression_type 2 is unknown");
}

TEST_CASE("qcow2: features that are not known are refused by name") {
  CHECK(error_with_features(32) ==
        "input: offset 0x48: incompatible_features holds what this program does not know: bit 5");
  CHECK(error_with_features(0x8000000000000020) ==
        "input: offset 0x48: incompatible_features holds what this program does not know: bit 5, "
        "bit 63");
  const auto named = [](unsigned kind, unsigned bit, std::string_view name) {
    return ByteWriter().u8(kind).u8(bit).text(name).fill(46 - name.size()).bytes();
  };
  const Bytes names = ByteWriter()
                          .be32(0x12345678)
                          .be32(3)
                          .fill(8)
                          .be32(0x6803f857)
                          .be32(3 * 48)
                          .append(named(1, 5, "compatible"))
                          .append(named(0, 5, "warp\n"))
                          .append(named(0, 200, "x"))
                          .bytes();
  CHECK(error_with_features(0x60, names) ==
        "input: offset 0x48: incompatible_features holds what this program does not know: "
        "\"warp\\x0a\", bit 6");
  CHECK(error_with_features(16) ==
        "input: offset 0x48: incompatible_features has extended L2 entries with clusters below 16 "
        "KiB");
  CHECK(error_with_features(4) ==
        "input: keeps its data in an external data file; QEMU cannot save machine state in such an "
        "image (look for it in another disk of the machine)");
}

TEST_CASE("qcow2: a snapshot table that cannot be") {
  const Bytes bytes = sound().bytes();
  const Places at(bytes);
  const auto table_at = [&](std::uint64_t value) {
    return read_bytes(patched64(bytes, kSnapshotsOffsetField, value)).error;
  };
  const std::string not_a_cluster = " is not the place of a cluster in the file";
  CHECK(table_at(at.entry + 8) == "input: snapshots_offset " + hex(at.entry + 8) + not_a_cluster);
  CHECK(table_at(0xfffffffffffffe00) ==
        "input: snapshots_offset 0xfffffffffffffe00" + not_a_cluster);
  CHECK(table_at(bytes.size()) == "input: offset " + hex(bytes.size()) +
                                      ": l1_table_offset is cut off: 8 bytes wanted, 0 left");
  CHECK(read_bytes(patched32(bytes, at.entry + 36, 0xffffffff))
            .error.find(": extra data is cut off: 4294967295 bytes wanted") != std::string::npos);
  CHECK(read_bytes(patched32(bytes, at.entry + 12, 0xffffffff))
            .error.find(": id_str is cut off: 65535 bytes wanted") != std::string::npos);
  // The header as table: whatever that says, it ends.
  CHECK(table_at(0) != "");
}

TEST_CASE("qcow2: an L1 table that cannot be") {
  const Bytes bytes = sound().bytes();
  const Places at(bytes);
  const std::string snapshot = "input: offset " + hex(at.entry) + ": snapshot 1 \"before\": ";
  const auto error = [&](std::uint64_t offset, std::uint32_t size) {
    return read_bytes(patched32(patched64(bytes, at.entry, offset), at.entry + 8, size)).error;
  };
  const std::uint64_t l1 = at.l1 - 16;
  CHECK(error(l1, 4'194'305) == snapshot + "l1_size 4194305 is more than QEMU reads");
  CHECK(error(l1, 0xffffffff) == snapshot + "l1_size 4294967295 is more than QEMU reads");
  const std::string outside = " is not in the file or not at a cluster";
  CHECK(error(l1 + 8, 3) == snapshot + "its L1 table of 3 entries at " + hex(l1 + 8) + outside);
  CHECK(error(bytes.size(), 3) ==
        snapshot + "its L1 table of 3 entries at " + hex(bytes.size()) + outside);
  CHECK(error(0xfffffffffffffe00, 3) ==
        snapshot + "its L1 table of 3 entries at 0xfffffffffffffe00" + outside);
  const std::string size = "vm_state_size " + std::to_string(state().size());
  for (const std::uint32_t entries : {0U, 1U, 2U}) {
    CHECK(error(l1, entries) == snapshot + size + " is more than its L1 table of " +
                                    std::to_string(entries) +
                                    " entries maps behind a disk of 40000 bytes");
  }
}

TEST_CASE("qcow2: a size of the state or the disk that cannot be") {
  Qcow2Image image = sound();
  const auto file_size = human_size(image.bytes().size());
  image.snapshots[0].size_field = 0xffffffffffffffff;
  CHECK(
      read_bytes(image.bytes())
          .error.ends_with(
              "snapshot 1 \"before\": vm_state_size 18446744073709551615 is more than a file of " +
              file_size + " can hold"));
  image.snapshots[0].size_field = 20 << 20;
  CHECK(read_bytes(image.bytes())
            .error.ends_with("vm_state_size 20971520 is more than its L1 table of 3 entries maps "
                             "behind a disk of 40000 "
                             "bytes"));
  const Bytes bytes = sound().bytes();
  CHECK(read_bytes(patched64(bytes, Places(bytes).entry + 48, 0xffffffffffffffff))
            .error.ends_with(" maps behind a disk of 18446744073709551615 bytes"));
}

TEST_CASE("qcow2: L1 entries that cannot be") {
  const Bytes bytes = sound().bytes();
  const Places at(bytes);
  const auto error = [&](std::uint64_t value) {
    return read_bytes(patched64(bytes, at.l1, value)).error;
  };
  const std::string place = "input: offset " + hex(at.l1) + ": L1 entry ";
  CHECK(error(at.l2 + 1) == place + hex(at.l2 + 1) + " has reserved bits set");
  CHECK(error(at.l2 | std::uint64_t{1} << 62) ==
        place + hex(at.l2 | std::uint64_t{1} << 62) + " has reserved bits set");
  const std::uint64_t end = bytes.size();
  CHECK(error(end) == place + hex(end) + " leads outside the file");
  CHECK(error(0x00fffffffffffe00) == place + "0xfffffffffffe00 leads outside the file");
  // No table: the state is zeros.
  CHECK(error(0) == "input, state of snapshot 1: offset 0x0: magic is not \"QEVM\"");

  const Bytes larger = sound(12).bytes();
  const Places there(larger, 1);
  CHECK(read_bytes(patched64(larger, there.l1, there.l2 + 512)).error ==
        "input: offset " + hex(there.l1) + ": L1 entry " + hex(there.l2 + 512) +
            " is not the place of a cluster");
}

TEST_CASE("qcow2: two L1 entries with one L2 table") {
  Qcow2Image image{};
  image.snapshots.push_back({.state = small_pc(16).eos().bytes()});
  const Bytes bytes = image.bytes();
  const Places at(bytes);
  CHECK(read_bytes(patched64(bytes, at.l1 + 8, at.l2)).error ==
        "input: offset " + hex(at.entry) +
            ": snapshot 1 \"before\": two L1 entries lead to the L2 table at " + hex(at.l2));
}

TEST_CASE("qcow2: L2 entries that cannot be") {
  const Bytes bytes = sound().bytes();
  const Places at(bytes);
  const auto error = [&](std::uint64_t value) {
    return read_bytes(patched64(bytes, at.l2 + 8, value)).error;
  };
  const std::string place = "input: offset " + hex(at.l2 + 8) + ": L2 entry ";
  CHECK(error(2) == place + "0x2 has reserved bits set");
  CHECK(error(std::uint64_t{1} << 56) == place + "0x100000000000000 has reserved bits set");
  const std::uint64_t end = bytes.size();
  CHECK(error(end) == place + "leads to " + hex(end) + ", outside the file");
  CHECK(error(end | 1) == place + "leads to " + hex(end) + ", outside the file");
  CHECK(error(0x00fffffffffffe00) == place + "leads to 0xfffffffffffe00, outside the file");
  CHECK(error(0x4000000000000000 | end) ==
        place + hex(0x4000000000000000 | end) + " leads outside the file");
  CHECK(error(0xc000000000000200) == place + "of a compressed cluster has bit 63 set");

  const Bytes larger = sound(12).bytes();
  const Places there(larger, 1);
  CHECK(read_bytes(patched64(larger, there.l2, 4096 + 512)).error ==
        "input: offset " + hex(there.l2) +
            ": L2 entry leads to 0x1200, which is not the place of a cluster");

  Qcow2Image old = sound();
  old.version = 2;
  const Bytes version_2 = old.bytes();
  const Places old_at(version_2);
  CHECK(read_bytes(patched64(version_2, old_at.l2, 1)).error ==
        "input: offset " + hex(old_at.l2) + ": L2 entry 0x1 has reserved bits set");
}

TEST_CASE("qcow2: extended L2 entries that cannot be") {
  Qcow2Image image = sound(14);
  image.extended = true;
  const Bytes bytes = image.bytes();
  const Places at(bytes, 1);
  const std::string place = "input: offset " + hex(at.l2) + ": L2 entry ";
  const auto error = [&](std::uint64_t word, std::uint64_t bitmap) {
    return read_bytes(patched64(patched64(bytes, at.l2, word), at.l2 + 8, bitmap)).error;
  };
  const std::uint64_t word = be64_at(bytes, at.l2);
  CHECK(error(word, 0x0000000100000001) == place + "has a subcluster both allocated and zero");
  CHECK(error(0, 1) == place + "has subclusters but no cluster");
  CHECK(error(word | 1, 1) == place + hex(word | 1) + " has reserved bits set");
  CHECK(error(0x4000000000000000 | 0x4000, 1) == place + "of a compressed cluster has subclusters");
}

TEST_CASE("qcow2: a cluster used twice") {
  const Bytes bytes = sound().bytes();
  const Places at(bytes);
  const Bytes twice = patched64(bytes, at.l2 + 24, be64_at(bytes, at.l2 + 8));
  const std::string text =
      "input: two parts of the machine state lie in the same cluster: one of them was overwritten";
  CHECK(read_bytes(twice).error == text);
  const ReadResult salvaged = read_bytes(twice, {.salvage = true});
  CHECK(salvaged.has_loss(text));
}

TEST_CASE("qcow2: compressed data that is damaged or ends early") {
  for (const bool zstd : {false, true}) {
    CAPTURE(zstd);
    Qcow2Image image = sound(12);
    image.snapshots[0].state = soft_state();
    image.zstd = zstd;
    image.kept = [](std::uint64_t) { return Kept::packed; };
    const Bytes bytes = image.bytes();
    const Places at(bytes, 1);
    const std::uint64_t word = be64_at(bytes, at.l2);
    const std::uint64_t host = word & 0x03ffffffffffffff;
    const std::string place = "input: offset " + hex(host) + ": compressed cluster ";
    CHECK(read_bytes(patched(bytes, host, from_hex("ff ff ff ff"))).error == place + "is damaged");
    // Only the sector it begins in, which does not hold all of it.
    const std::uint64_t first = (word & 0x43ffffffffffffff);
    CHECK(read_bytes(patched64(bytes, at.l2, first)).error ==
          place + (zstd ? "is damaged" : "ends early"));
  }
  // One stream that ends with fewer bytes than a cluster has.
  Qcow2Image image = sound(9);
  image.snapshots[0].state = soft_state();
  image.kept = [](std::uint64_t) { return Kept::packed; };
  const Bytes bytes = image.bytes();
  const std::uint64_t host = be64_at(bytes, Places(bytes).l2) & 0x1fffffffffffffff;
  CHECK(read_bytes(patched(bytes, host, from_hex("03 00"))).error ==
        "input: offset " + hex(host) + ": compressed cluster ends early");
}

TEST_CASE("qcow2: compressed data that goes on behind its cluster is cut there") {
  Qcow2Image image = sound(9);
  image.snapshots[0].state = soft_state();
  image.kept = [](std::uint64_t i) { return i == 3 ? Kept::packed : Kept::plain; };
  const Bytes bytes = image.bytes();
  const std::uint64_t host = be64_at(bytes, Places(bytes).l2 + 3 * 8) & 0x1fffffffffffffff;
  const Bytes zeros = from_hex("edc13101000000c2a0f54f6d0d0fa00000807703");  // 3000 of them
  const ReadResult result = read_bytes(patched(bytes, host, zeros));
  REQUIRE(result.error == "");
  Bytes expected = soft_state();
  std::fill_n(expected.begin() + 3 * 512, 512, std::byte{0});
  Bytes found(expected.size());
  result.image->sources.at(0)->read_at({0}, found);
  CHECK(found == expected);
}

TEST_CASE("qcow2: salvage ends the state where the image ceases to make sense") {
  const Bytes bytes = sound().bytes();
  const Places at(bytes);
  const Bytes broken = patched64(bytes, at.l2 + 12 * 8, 2);
  const ReadResult result = read_bytes(broken, {.salvage = true});
  REQUIRE(result.error == "");
  CHECK(result.has_loss("input: offset " + hex(at.l2 + 12 * 8) +
                        ": L2 entry 0x2 has reserved bits set; what follows 6 KiB of machine state "
                        "is lost"));
  CHECK(is_page(*result.image, 0, 0));
  CHECK(result.image->runs.total_bytes() == 4096);
}

TEST_CASE(
    "qcow2: damaged compressed data in the middle of a page is found before a byte is written") {
  Qcow2Image image = sound(9);
  image.snapshots[0].state = soft_state();
  image.kept = [](std::uint64_t) { return Kept::packed; };
  const Bytes bytes = image.bytes();
  const std::uint64_t host = be64_at(bytes, Places(bytes).l2 + 5 * 8) & 0x1fffffffffffffff;
  const Bytes broken = patched(bytes, host, from_hex("ff ff"));
  const std::string text = "input: offset " + hex(host) + ": compressed cluster is damaged";
  CHECK(read_bytes(broken).error == text);
  CHECK(read_bytes(broken, {.salvage = true})
            .has_loss(text + "; what follows 2.5 KiB of machine state is lost"));
}

TEST_CASE("qcow2: an image cut anywhere is an error or all that is needed is there") {
  const Qcow2Image image = sound();
  const Bytes whole = image.bytes();
  bool good = false;
  for (std::size_t size = 4; size < whole.size(); ++size) {
    CAPTURE(size);
    const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    const ReadResult result = read_bytes(cut);
    if (result.error == "") REQUIRE(are_pages(*result.image, 0, 0, 2));
    REQUIRE((!good || result.error == ""));  // never less from more
    good = result.error == "";
    if (size % 7 == 0) read_bytes(cut, {.salvage = true});
  }
  CHECK(good);
}

TEST_CASE("qcow2: a flipped byte is an error or an image that keeps its promises") {
  for (const bool packed : {false, true}) {
    Qcow2Image image = sound();
    if (packed)
      image.kept = [](std::uint64_t i) { return i % 3 != 0 ? Kept::packed : Kept::plain; };
    const Bytes whole = image.bytes();
    for (std::size_t at = 0; at < whole.size(); at += at < 1600 ? 1 : 13) {
      for (const unsigned pattern : {0x01U, 0x80U, 0xffU}) {
        CAPTURE(at);
        CAPTURE(pattern);
        Bytes bytes = whole;
        bytes[at] ^= static_cast<std::byte>(pattern);
        for (const bool salvage : {false, true}) {
          const ReadResult result = read_bytes(bytes, {.salvage = salvage});
          REQUIRE((result.image.has_value() != !result.error.empty()));
          if (!salvage) REQUIRE(!result.diagnostics->lost());
        }
      }
    }
  }
}

TEST_CASE("qcow2: each failing read ends with its error") {
  const auto memory = std::make_shared<MemorySource>("input", sound().bytes());
  for (std::uint64_t n = 1;; ++n) {
    CAPTURE(n);
    const auto source = std::make_shared<ThrowingSource>(memory, n);
    const ReadResult result = read_source(source, {.salvage = n % 2 == 0});
    if (!source->failed()) {
      CHECK(result.error == "");
      CHECK(n > 8);
      break;
    }
    REQUIRE(result.kind == ErrorKind::io);
    REQUIRE(result.error.ends_with("read: Input/output error"));
  }
}

}  // namespace
}  // namespace vmconvert::test
