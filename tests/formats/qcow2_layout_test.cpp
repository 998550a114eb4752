#include <thread>

#include "support/image_bytes.h"
#include "support/pc_stream.h"
#include "support/qcow2_builder.h"
#include "support/reading.h"
#include "support/scratch_folder.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

constexpr std::uint64_t kPages = 6;

/// Pages 0 to 5: two of noise, two of zeros that the stream holds as content, two that pack well.
Bytes state() {
  QevmBuilder stream = pc().ram_start({{"pc.ram", kPages * 4096, {}}});
  stream.ram_part(RamPayload()
                      .pages("pc.ram", 0, 0, 2)
                      .raw(2 * 4096 + 0x28, Bytes(4096))
                      .raw(3 * 4096 + 0x28, Bytes(4096))
                      .raw(4 * 4096 + 0x28, soft_page(4))
                      .raw(5 * 4096 + 0x28, soft_page(5))
                      .eos());
  return stream.ram_end().eos().bytes();
}

/// Page i of `pages` is soft_page(i).
Bytes soft_state(std::uint64_t pages) {
  QevmBuilder stream = pc().ram_start({{"pc.ram", pages * 4096, {}}});
  RamPayload payload;
  payload.raw(0x08, ByteWriter().counted_text("pc.ram").append(soft_page(0)).bytes());
  for (std::uint64_t i = 1; i < pages; ++i) payload.raw(i * 4096 + 0x28, soft_page(i));
  return stream.ram_part(payload.eos()).ram_end().eos().bytes();
}

bool holds_pages(const ReadResult& result) {
  return result.image && are_pages(*result.image, 0, 0, 2) &&
         is_filled(*result.image, 2 * 4096, 0) && is_filled(*result.image, 3 * 4096, 0) &&
         guest_bytes(*result.image, 4 * 4096, 4096) == soft_page(4) &&
         guest_bytes(*result.image, 5 * 4096, 4096) == soft_page(5);
}

bool is_zero(const Bytes& state, std::uint64_t begin, std::uint64_t size) {
  for (std::uint64_t i = begin; i < std::min<std::uint64_t>(begin + size, state.size()); ++i) {
    if (state[i] != std::byte{0}) return false;
  }
  return true;
}

Qcow2Image image_of(const Bytes& state, std::uint32_t cluster_bits) {
  Qcow2Image image{.cluster_bits = cluster_bits};
  image.snapshots.push_back({.state = state});
  return image;
}

void check_pages(const Qcow2Image& image) {
  const ReadResult result = read_bytes(image.bytes());
  REQUIRE(result.error == "");
  CHECK(holds_pages(result));
  // All at once: neighbours in the image need not be neighbours in the state.
  const ByteSource& source = *result.image->sources.at(0);
  Bytes found(source.size());
  source.read_at({0}, found);
  CHECK(found == image.snapshots[0].state);
}

TEST_CASE("qcow2: every cluster size and version, clusters in any order") {
  for (const std::uint32_t version : {2U, 3U}) {
    for (std::uint32_t bits = 9; bits <= 21; ++bits) {
      for (const bool reversed : {false, true}) {
        CAPTURE(version);
        CAPTURE(bits);
        Qcow2Image image = image_of(state(), bits);
        image.version = version;
        image.reversed = reversed;
        check_pages(image);
      }
    }
  }
}

TEST_CASE("qcow2: zero clusters and such that are not there read as zeros") {
  const Bytes content = state();
  for (const Kept empty : {Kept::zero, Kept::hole}) {
    Qcow2Image image = image_of(content, 9);
    image.backing_file = "base.raw";
    unsigned zeros = 0;
    image.kept = [&](std::uint64_t cluster) {
      if (!is_zero(content, cluster * 512, 512)) return Kept::plain;
      ++zeros;
      return empty;
    };
    check_pages(image);
    CHECK(zeros >= 14);
  }
}

TEST_CASE("qcow2: compressed clusters, alone and between others") {
  for (const bool zstd : {false, true}) {
    for (const std::uint32_t bits : {9U, 12U, 16U, 21U}) {
      for (const std::uint64_t every : {1U, 2U, 3U}) {
        CAPTURE(bits);
        CAPTURE(zstd);
        Qcow2Image image = image_of(state(), bits);
        image.zstd = zstd;
        image.kept = [&](std::uint64_t i) { return i % every == 0 ? Kept::packed : Kept::plain; };
        check_pages(image);
      }
    }
  }
}

TEST_CASE("qcow2: compressed data may end with the file, within its last sector") {
  Qcow2Image image = image_of(state(), 12);
  image.kept = [](std::uint64_t) { return Kept::packed; };
  const Bytes whole = image.bytes();
  // The builder puts refcounts last; only what lies before them is needed.
  Bytes bytes = whole;
  while (holds_pages(read_bytes(bytes))) bytes.pop_back();
  CHECK(bytes.size() < whole.size());
  CHECK(bytes.size() % 512 != 511);
}

TEST_CASE("qcow2: extended L2 entries") {
  for (const std::uint32_t bits : {14U, 16U, 17U, 21U}) {
    for (const bool zstd : {false, true}) {
      CAPTURE(bits);
      Qcow2Image image = image_of(state(), bits);
      image.extended = true;
      image.zstd = zstd;
      check_pages(image);
      image.kept = [](std::uint64_t i) { return i % 2 == 0 ? Kept::packed : Kept::plain; };
      check_pages(image);
    }
  }
}

TEST_CASE("qcow2: a state that several L2 tables map") {
  const Bytes content = soft_state(64);  // 257 KiB, an L2 table maps 32
  Qcow2Image image = image_of(content, 9);
  image.kept = [](std::uint64_t i) { return i % 5 == 3 ? Kept::packed : Kept::plain; };
  const ReadResult result = read_bytes(image.bytes());
  REQUIRE(result.error == "");
  for (std::uint64_t i = 0; i < 64; ++i) {
    CHECK(guest_bytes(*result.image, i * 4096, 4096) == soft_page(i));
  }
}

TEST_CASE("qcow2: the state begins behind the disk as it was when the snapshot was made") {
  for (const std::uint64_t then : {0U, 1U, 32767U, 32768U, 32769U, 1'000'000U}) {
    for (const std::uint64_t now : {512U, 40'000U, 2'000'000U}) {
      CAPTURE(then);
      CAPTURE(now);
      Qcow2Image image = image_of(state(), 9);
      image.disk_size = now;
      image.snapshots[0].disk_size = then;
      check_pages(image);
    }
  }
}

TEST_CASE("qcow2: extra data of any size, or none") {
  for (const std::uint32_t size : {0U, 7U, 8U, 15U, 16U, 24U, 25U, 64U, 400U}) {
    CAPTURE(size);
    Qcow2Image image = image_of(state(), 9);
    image.snapshots[0].extra_size = size;
    image.snapshots.push_back({.id = "2", .name = "x"});
    check_pages(image);
  }
}

TEST_CASE("qcow2: the state's size of 64 bits wins over that of 32") {
  Qcow2Image image = image_of(state(), 9);
  image.snapshots[0].small_size_field = 0;
  check_pages(image);
  image.snapshots[0].small_size_field = 7;
  check_pages(image);
  image.snapshots[0].extra_size = 0;
  CHECK(read_bytes(image.bytes()).error ==
        "input, state of snapshot 1: offset 0x4: version is cut off: 4 bytes wanted, 3 left");
}

TEST_CASE("qcow2: headers of any length that version 3 allows") {
  for (const std::uint32_t length : {104U, 112U, 120U}) {
    Qcow2Image image = image_of(state(), 9);
    image.header_length = length;
    check_pages(image);
  }
}

TEST_CASE("qcow2: what the snapshot and the image say about themselves") {
  Qcow2Image image = image_of(state(), 12);
  image.snapshots[0].id = "7";
  image.snapshots[0].name = "a \"name\"\n";
  image.snapshots[0].vm_clock = 61'000'000'001;
  const ReadResult result = read_bytes(image.bytes());
  REQUIRE(result.error == "");
  const auto fact = [&](std::string_view key) {
    for (const Fact& f : result.image->metadata.facts) {
      if (f.key == key) return f.value;
    }
    return std::string("none");
  };
  CHECK(fact("snapshot.id") == "7");
  CHECK(fact("snapshot.name") == "a \"name\"\n");
  CHECK(fact("snapshot.date") == "2025-11-25T04:40:46Z");
  CHECK(fact("snapshot.vm_clock") == "61.000000001 s");
  CHECK(fact("qcow2.version") == "3");
  CHECK(fact("qcow2.cluster_size") == "4096");
  CHECK(result.has_decision("input: snapshot 7 \"a \\\"name\\\"\\x0a\" of 2025-11-25T04:40:46Z, " +
                            human_size(state().size()) + " of machine state"));
}

TEST_CASE("qcow2: an image marked corrupt is read with a warning, a dirty one without") {
  Qcow2Image image = image_of(state(), 9);
  image.more_features = 1;
  ReadResult result = read_bytes(image.bytes());
  CHECK(holds_pages(result));
  CHECK(result.diagnostics->of(Diagnostics::Level::warning).empty());
  image.more_features = 3;
  result = read_bytes(image.bytes());
  CHECK(holds_pages(result));
  CHECK(result.has_warning(
      "input: QEMU marked this image as corrupt; look at qemu-img check before trusting it"));
}

TEST_CASE("qcow2: many threads read one state") {
  const Bytes content = soft_state(64);
  Qcow2Image image = image_of(content, 9);
  image.kept = [](std::uint64_t i) { return i % 7 < 3 ? Kept::packed : Kept::plain; };
  const ReadResult result = read_bytes(image.bytes());
  REQUIRE(result.error == "");
  const ByteSource& source = *result.image->sources.at(0);
  REQUIRE(source.size() == content.size());
  std::array<bool, 4> good{};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < good.size(); ++t) {
    threads.emplace_back([&, t] {
      std::uint64_t random = t + 1;
      good[t] = true;
      for (int i = 0; i < 300; ++i) {
        random = random * 6364136223846793005U + 1442695040888963407U;
        const std::uint64_t at = (random >> 33) % content.size();
        const std::uint64_t size =
            std::min<std::uint64_t>((random >> 20) % 5000, content.size() - at);
        Bytes bytes(size);
        source.read_at({at}, bytes);
        good[t] = good[t] && std::equal(bytes.begin(), bytes.end(),
                                        content.begin() + static_cast<std::ptrdiff_t>(at));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(good == std::array<bool, 4>{true, true, true, true});
}

}  // namespace
}  // namespace vmconvert::test
