#include <chrono>

#include "support/device_payloads.h"
#include "support/pc_stream.h"
#include "support/reading.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

const std::string kBlock = "0000:00:01.0/vmem";
constexpr std::uint64_t kRegion = 256 * kMiB;
constexpr std::uint64_t kAt = 0x110000000;

VirtioMemState state() {
  return {.address = kAt, .region_size = kRegion, .plugged = {0, 1, 5, 127}};
}

enum class Where { early, old };

ReadResult read_with(const Bytes& payload, Where where, const ReadOptions& options = {},
                     bool described = true) {
  QevmBuilder stream =
      pc().ram_start({{kBlock, kRegion, {}}, {"pc.ram", 2 * kMiB, {}}, {"vga.vram", 4 * kKiB, {}}});
  if (where == Where::early) {
    stream.device("0000:00:01.0/virtio-mem-device-early", payload);
  }
  stream.ram_end(RamPayload()
                     .page(kBlock, 0, 1)
                     .page(kBlock, 5 * 2 * kMiB, 2)
                     .page(kBlock, kRegion - 4096, 3)
                     .eos());
  if (where == Where::old) stream.device("0000:00:01.0/virtio-mem", payload);
  stream.eos();
  if (described) stream.description();
  return read_bytes(stream.bytes(), options);
}

void check_plugged(const ReadResult& result) {
  REQUIRE(result.error == "");
  CHECK(result.image->runs.extents() ==
        std::vector{guest_range(0, 0xa0000), guest_range(0xc0000, 2 * kMiB),
                    guest_range(kAt, kAt + 4 * kMiB), guest_range(kAt + 10 * kMiB, kAt + 12 * kMiB),
                    guest_range(kAt + 254 * kMiB, kAt + 256 * kMiB)});
  CHECK(is_page(*result.image, kAt, 1));
  CHECK(is_page(*result.image, kAt + 10 * kMiB, 2));
  CHECK(is_page(*result.image, kAt + kRegion - 4096, 3));
}

TEST_CASE("virtio-mem: the early section before the pages tells place and plugged blocks") {
  CHECK(virtio_mem_early_state(state()).size() == 52);
  check_plugged(read_with(virtio_mem_early_state(state()), Where::early));
  check_plugged(read_with(virtio_mem_early_state(state()), Where::early, {}, false));
}

TEST_CASE("virtio-mem: the state in the virtio section of QEMU 7 is found") {
  for (const std::size_t before : {std::size_t{0}, std::size_t{1}, std::size_t{333}}) {
    check_plugged(read_with(virtio_mem_old_state(state(), before), Where::old));
  }
}

TEST_CASE("virtio-mem: a state that contradicts itself is not believed") {
  const std::string message =
      "input: memory block \"0000:00:01.0/vmem\" of 256 MiB: the stream does not tell its guest "
      "address (give it with --block NAME=ADDRESS)";
  const auto error = [](const VirtioMemState& wrong) {
    return read_with(virtio_mem_early_state(wrong), Where::early).error;
  };
  VirtioMemState wrong = state();
  wrong.address = kAt + 4096;  // not a multiple of the block size
  CHECK(error(wrong) == message);
  wrong = state();
  wrong.region_size = 2 * kRegion;
  CHECK(error(wrong) == message);
  wrong = state();
  wrong.node = 5000;
  CHECK(error(wrong) == message);
  wrong = state();
  wrong.plugged = {1, 1};  // the size says two, the bitmap one
  CHECK(error(wrong) == message);
  wrong = state();
  wrong.address = ~std::uint64_t{0} - 2 * kMiB + 1;
  CHECK(error(wrong) == message);
  CHECK(read_with(Bytes(51), Where::early).error == message);
  CHECK(read_with({}, Where::early).error == message);
}

TEST_CASE("virtio-mem: without its state it is left out under salvage") {
  const ReadResult result = read_with(Bytes(51), Where::early, {.salvage = true});
  REQUIRE(result.error == "");
  CHECK(result.image->runs.extents().back().end().value == 2 * kMiB);
  CHECK(result.has_loss("memory block \"0000:00:01.0/vmem\" of 256 MiB"));
}

TEST_CASE("virtio-mem: the user's address holds for the whole block") {
  const ReadResult result = read_with(virtio_mem_early_state(state()), Where::early,
                                      {.block_addresses = {{kBlock, {8 * kGiB}}}});
  REQUIRE(result.error == "");
  CHECK(result.image->runs.extents().back() == GuestRange::sized({8 * kGiB}, kRegion));
}

TEST_CASE("virtio-mem: with nothing plugged there is nothing") {
  VirtioMemState empty = state();
  empty.plugged.clear();
  const ReadResult result = read_with(virtio_mem_early_state(empty), Where::early);
  REQUIRE(result.error == "");
  CHECK(result.image->runs.extents().back().end().value == 2 * kMiB);
}

TEST_CASE("virtio-mem: its region is in the way of DIMMs even where it is unplugged") {
  QevmBuilder stream = pc().ram_start({{kBlock, kRegion, {}},
                                       {"dimm", 64 * kMiB, {}},
                                       {"pc.ram", 2 * kMiB, {}},
                                       {"vga.vram", 4 * kKiB, {}}});
  VirtioMemState at_base = state();
  at_base.address = 4 * kGiB;
  at_base.plugged = {127};
  stream.device("0000:00:01.0/virtio-mem-device-early", virtio_mem_early_state(at_base));
  stream.ram_end(RamPayload().page("dimm", 0, 9).eos()).eos().description();
  const ReadResult result = read_bytes(stream.bytes());
  REQUIRE(result.error == "");
  CHECK(is_page(*result.image, 4 * kGiB + kRegion, 9));
}

TEST_CASE("virtio-mem: a fragmented device takes no time to speak of") {
  VirtioMemState fragmented{.address = 1024 * kGiB, .region_size = 200 * kGiB};
  for (unsigned i = 0; i < 200 * 512; i += 2) fragmented.plugged.push_back(i);
  QevmBuilder stream = pc().ram_start(
      {{kBlock, 200 * kGiB, {}}, {"pc.ram", 2 * kMiB, {}}, {"vga.vram", 4 * kKiB, {}}});
  stream.device("0000:00:01.0/virtio-mem-device-early", virtio_mem_early_state(fragmented));
  const auto begin = std::chrono::steady_clock::now();
  const ReadResult result = read_bytes(stream.ram_end().eos().bytes());
  REQUIRE(result.error == "");
  CHECK(result.image->runs.extents().size() == 2 + 51'200);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(20));
}

}  // namespace
}  // namespace vmconvert::test
