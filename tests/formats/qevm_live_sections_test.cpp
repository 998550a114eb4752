#include "support/pc_stream.h"
#include "support/reading.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

/// Payloads of another live section around those of RAM.
struct LivePayloads {
  Bytes start, part, end;
};

ReadResult read_with(std::string_view name, std::uint32_t version, const LivePayloads& other,
                     bool footers = true) {
  QevmBuilder stream = pc("pc-i440fx-7.2", footers);
  stream.start(7, name, version, other.start);
  stream.ram_start({{"pc.ram", 4 * 4096, {}}});
  stream.part(7, other.part);
  stream.ram_part(RamPayload().pages("pc.ram", 0, 0, 2).eos());
  stream.part(7, other.part).part(7, other.part);
  stream.ram_end(RamPayload().next_page(2 * 4096, 2).next_page(3 * 4096, 3).eos());
  stream.end(7, other.end);
  return read_bytes(stream.eos().bytes());
}

/// RAM is as it was whatever the other section holds.
void check_skipped(std::string_view name, std::uint32_t version, const LivePayloads& other) {
  for (const bool footers : {true, false}) {
    CAPTURE(footers);
    const ReadResult result = read_with(name, version, other, footers);
    REQUIRE(result.error == "");
    CHECK(are_pages(*result.image, 0, 0, 4));
  }
}

/// @param offset  of the bad field within the payload
void check_refused(std::string_view name, const Bytes& start, std::uint64_t offset,
                   const std::string& message) {
  const std::uint64_t payload = pc().size() + 1 + 4 + 1 + name.size() + 4 + 4;
  QevmBuilder stream = pc().start(7, name, 1, start);
  CHECK(read_bytes(stream.bytes()).error ==
        "input: offset " + hex(payload + offset) + ": " + message);
}

TEST_CASE("live sections: dirty bitmaps are skipped with names and bits") {
  const Bytes bits = ByteWriter()
                         .u8(0x4c)
                         .counted_text("node")
                         .counted_text("bitmap")
                         .be64(0)
                         .be32(128)
                         .be64(5)
                         .fill(5, 0x01)  // BITS with content
                         .u8(0x42)
                         .be64(128)
                         .be32(128)  // BITS that are ZEROES
                         .u8(0x10)
                         .be32(65536)
                         .u8(3)  // START
                         .u8(0x20)
                         .u8(0x01)
                         .bytes();  // COMPLETE, EOS
  check_skipped("dirty-bitmap", 1, {from_hex("01"), bits, bits});
  // Flags of two and four bytes.
  check_skipped("dirty-bitmap", 1, {from_hex("80 01"), from_hex("80 80 00 01"), from_hex("01")});
}

TEST_CASE("live sections: a hash table of POWER is skipped") {
  const Bytes chunks = ByteWriter()
                           .be32(0)
                           .be32(0)
                           .be16(2)
                           .be16(1)
                           .fill(32, 0xee)
                           .be32(5)
                           .be16(0)
                           .be16(7)
                           .be32(0)
                           .be16(0)
                           .be16(0)
                           .bytes();
  check_skipped("spapr/htab", 1, {ByteWriter().be32(21).bytes(), chunks, chunks});
  const Bytes none = ByteWriter().be32(0xffffffff).bytes();
  check_skipped("spapr/htab", 1, {none, none, none});
}

TEST_CASE("live sections: a hash table header that is none is refused") {
  QevmBuilder stream = pc().start(7, "spapr/htab", 1, ByteWriter().be32(21).bytes());
  const std::uint64_t at = stream.size() + 5;
  CHECK(read_bytes(stream.part(7, ByteWriter().be32(21).bytes()).bytes()).error ==
        "input: offset " + hex(at) + ": hash table header is neither 0 nor -1");
}

TEST_CASE("live sections: storage attributes of s390x are skipped") {
  const Bytes eos = ByteWriter().be64(1).bytes();
  const Bytes end = ByteWriter().be64(8).be64(1).bytes();
  const Bytes more = ByteWriter().be64(0x5002).be64(3).fill(3, 0x10).be64(1).bytes();
  check_skipped("s390-storage_attributes", 0, {eos, more, end});
  check_refused("s390-storage_attributes", ByteWriter().be64(4).bytes(), 0,
                "storage attribute record has unknown flag 0x4");
}

TEST_CASE("live sections: disks that migrate along are skipped") {
  const Bytes eos = ByteWriter().be64(2).bytes();
  const Bytes blocks = ByteWriter()
                           .be64(0x01)
                           .counted_text("drive0")
                           .fill(1 << 20, 0x33)
                           .be64(0x200 | 0x09)
                           .counted_text("drive0")  // a block of zeros
                           .be64(50 << 9 | 0x04)    // progress
                           .be64(2)
                           .bytes();
  check_skipped("block", 1, {eos, blocks, eos});
  check_refused("block", ByteWriter().be64(0x10).bytes(), 0,
                "disk block record has unknown flags 0x10");
}

TEST_CASE("live sections: state of the backup client is skipped") {
  QevmBuilder stream = pc();
  stream.start(7, "pbs-state", 1, ByteWriter().be64(9).text("{\"a\": 1}\n").bytes());
  stream.ram_start({{"pc.ram", 4096, {}}});
  const ReadResult result =
      read_bytes(stream.ram_end(RamPayload().pages("pc.ram", 0, 0, 1).eos()).eos().bytes());
  REQUIRE(result.error == "");
  CHECK(is_page(*result.image, 0, 0));
}

TEST_CASE("live sections: VFIO devices are skipped with data and configuration") {
  constexpr std::uint64_t kTag = 0xffffffffef100000;
  const Bytes setup = ByteWriter().be64(kTag + 3).be64(kTag + 1).bytes();
  const Bytes data =
      ByteWriter().be64(kTag + 4).be64(1000).fill(1000, 0xff).be64(kTag + 5).be64(kTag + 1).bytes();
  const Bytes config = ByteWriter().be64(kTag + 2).fill(70'001, 0xef).be64(kTag + 1).bytes();
  check_skipped("0000:00:05.0/vfio", 1, {setup, data, config});
  check_skipped("VFIO", 1, {setup, data, config});
  check_refused("0000:00:05.0/vfio", ByteWriter().be64(kTag + 6).bytes(), 0,
                "VFIO record has unknown tag 0xffffffffef100006");
  check_refused("0000:00:05.0/vfio", ByteWriter().be64(kTag + 2).fill(9).bytes(), 0,
                "VFIO device configuration has no end tag");
}

TEST_CASE("live sections: an unknown one is stepped over by its footers") {
  // What looks like the footer within the payload is followed by no element.
  const Bytes payload = ByteWriter().fill(20, 0x55).u8(0x7e).be32(7).fill(30, 0x66).bytes();
  const ReadResult result = read_with("new thing", 1, {payload, payload, payload});
  REQUIRE(result.error == "");
  CHECK(are_pages(*result.image, 0, 0, 4));
}

TEST_CASE("live sections: an unknown one without footers is named") {
  QevmBuilder stream = pc("pc-i440fx-2.3", false);
  stream.ram_start({{"pc.ram", 4096, {}}}).start(7, "new\nthing", 1, Bytes(9, std::byte{0x55}));
  const ReadResult result = read_bytes(stream.ram_end().eos().bytes());
  CHECK(result.kind == ErrorKind::unsupported);
  CHECK(result.error.ends_with(
      "live section \"new\\x0athing\" is unknown and its end cannot be found"));
}

}  // namespace
}  // namespace vmconvert::test
