#include <algorithm>

#include "support/device_payloads.h"
#include "support/encoded_ram.h"
#include "support/pc_stream.h"
#include "support/reading.h"
#include "support/test.h"

namespace vmconvert::test {
namespace {

constexpr std::uint64_t kPages = 8;

/// A page that compresses to about 60 bytes.
Bytes soft_page(std::uint64_t number) {
  Bytes page(4096);
  const Bytes some = page_of(number, 40);
  std::copy(some.begin(), some.end(), page.begin() + 100);
  return page;
}

Bytes packed_page(std::uint64_t number) { return zlib_of(soft_page(number)); }

/// A stream of one block, with these records in its END.
struct Stream {
  std::uint64_t records_at = 0;  ///< where the first record begins
  Bytes bytes;
};

Stream stream_of(const Bytes& records) {
  QevmBuilder stream = pc().ram_start({{"pc.ram", kPages * 4096, {}}});
  Stream result{stream.size() + 5, {}};
  stream.end(2, ByteWriter().append(records).be64(0x10).bytes());
  result.bytes = stream.device("timer", Bytes(24)).eos().description().bytes();
  return result;
}

TEST_CASE("compressed pages: are inflated when they are read") {
  ByteWriter records;
  records.append(compressed_record(0x100, "pc.ram", packed_page(0)));
  for (std::uint64_t i = 1; i < kPages; ++i) {
    records.append(compressed_record(i * 4096 | 0x120, "", packed_page(i)));
  }
  const ReadResult result = read_bytes(stream_of(records.bytes()).bytes);
  REQUIRE(result.error == "");
  CHECK(result.has_decision("8 compressed page records and 0 XBZRLE deltas"));
  CHECK(result.image->runs.runs().size() == 1);
  REQUIRE(result.image->sources.size() == 2);
  CHECK(result.image->sources[1]->size() == kPages * 4096);
  CHECK(result.image->sources[1]->name() == "input");
  for (std::uint64_t i = 0; i < kPages; ++i) {
    CHECK(guest_bytes(*result.image, i * 4096, 4096) == soft_page(i));
  }
  // Pieces of pages, across a border.
  Bytes expected = soft_page(2);
  const Bytes next = soft_page(3);
  expected.insert(expected.end(), next.begin(), next.end());
  CHECK(guest_bytes(*result.image, 2 * 4096 + 90, 4096) ==
        Bytes(expected.begin() + 90, expected.begin() + 90 + 4096));
}

TEST_CASE("compressed pages: a record as QEMU writes it is read") {
  const Bytes page(4096, std::byte{0x41});
  const Bytes packed = zlib_of(page);
  REQUIRE(packed.size() < 64);
  ByteWriter record;
  record.be64(0x3100).u8(6).text("pc.ram").be32(packed.size()).append(packed);
  const ReadResult result = read_bytes(stream_of(record.bytes()).bytes);
  REQUIRE(result.error == "");
  CHECK(is_filled(*result.image, 0x3000, 0x41));
  CHECK(is_filled(*result.image, 0, 0));
}

TEST_CASE("compressed pages: the last record of a page wins, whatever its form") {
  ByteWriter records;
  records.append(compressed_record(0x100, "pc.ram", packed_page(10)));  // replaced
  records.append(compressed_record(0x1120, "", packed_page(11)));       // stays
  records.append(RamPayload().next_page(0x2000, 12).bytes());           // replaced
  records.append(compressed_record(0x0120, "", packed_page(20)));       // replaced
  records.append(compressed_record(0x2120, "", packed_page(22)));       // stays
  records.append(RamPayload().next_zero(0, 7).next_page(0x3000, 3).bytes());
  const ReadResult result = read_bytes(stream_of(records.bytes()).bytes);
  REQUIRE(result.error == "");
  CHECK(is_filled(*result.image, 0, 7));
  CHECK(guest_bytes(*result.image, 0x1000, 4096) == soft_page(11));
  CHECK(guest_bytes(*result.image, 0x2000, 4096) == soft_page(22));
  CHECK(is_page(*result.image, 0x3000, 3));
  CHECK(result.image->sources[1]->size() == 2 * 4096);  // no room for what was replaced
}

TEST_CASE("compressed pages: pages of 64 KiB") {
  QevmBuilder stream = pc().target_page_bits(16).ram_start({{"pc.ram", 0x40000, {}}});
  const Bytes page = page_of(5, 0x10000);
  stream.end(
      2,
      ByteWriter().append(compressed_record(0x10100, "pc.ram", zlib_of(page))).be64(0x10).bytes());
  const ReadResult result = read_bytes(stream.eos().bytes());
  REQUIRE(result.error == "");
  CHECK(guest_bytes(*result.image, 0x10000, 0x10000) == page);
}

TEST_CASE("compressed pages: a length that no page needs is refused at once") {
  ByteWriter record;
  record.be64(0x100).counted_text("pc.ram").be32(4096 + 15);
  const Stream stream = stream_of(record.fill(5000).bytes());
  CHECK(read_bytes(stream.bytes).error ==
        "input: offset " + hex(stream.records_at + 15) +
            ": length of a compressed page 0x100f is more than a page can take: 0x100e");
}

/// What reading the damaged page says, and what salvage makes of it.
void check_damaged(const Bytes& packed, const std::string& why) {
  CAPTURE(why);
  ByteWriter records;
  records.append(compressed_record(0x100, "pc.ram", packed_page(0)));
  const std::uint64_t inside = records.size();
  records.append(compressed_record(0x1120, "", packed));
  records.append(compressed_record(0x2120, "", packed_page(2)));
  const Stream stream = stream_of(records.bytes());
  const std::string place = "input: offset " + hex(stream.records_at + inside + 8) + ": ";

  const ReadResult plain = read_bytes(stream.bytes);
  REQUIRE(plain.error == "");
  CHECK(error_of([&] { guest_bytes(*plain.image, 0x1000, 4096); }) ==
        place + "compressed page " + why + " (--salvage leaves it out)");
  CHECK(guest_bytes(*plain.image, 0x2000, 4096) == soft_page(2));

  const ReadResult salvaged = read_bytes(stream.bytes, {.salvage = true});
  REQUIRE(salvaged.error == "");
  CHECK(salvaged.diagnostics->of(Diagnostics::Level::loss) ==
        std::vector<std::string>{
            place + "compressed page " + why + "; the page is left out",
            "input: no content for 4 KiB of guest memory, left out: 0x1000-0x2000"});
  CHECK(salvaged.image->runs.extents() ==
        std::vector{guest_range(0, 0x1000), guest_range(0x2000, kPages * 4096)});
  CHECK(guest_bytes(*salvaged.image, 0, 4096) == soft_page(0));
  CHECK(guest_bytes(*salvaged.image, 0x2000, 4096) == soft_page(2));
  CHECK(is_filled(*salvaged.image, 0x3000, 0));
}

TEST_CASE("compressed pages: what does not inflate to one page is damage, told with its place") {
  const Bytes good = packed_page(1);
  check_damaged(zlib_of(Bytes(4095, std::byte{1})), "inflates to less than a page");
  check_damaged(zlib_of(Bytes(4097, std::byte{1})), "inflates to more than a page");
  check_damaged(zlib_of(Bytes(2 << 20)), "inflates to more than a page");
  check_damaged({}, "is damaged");
  check_damaged(Bytes(50, std::byte{0}), "is damaged");
  check_damaged(Bytes(good.begin(), good.end() - 1), "is damaged");
  Bytes longer = good;
  longer.push_back(std::byte{0});
  check_damaged(longer, "is shorter than its length says");
  Bytes dictionary = good;
  dictionary[1] = std::byte{0xbb};  // FDICT set, header checksum right
  check_damaged(dictionary, "is damaged");
}

TEST_CASE("compressed pages: any flipped bit of one is noticed") {
  const Bytes good = packed_page(1);
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    CAPTURE(bit);
    Bytes packed = good;
    packed[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    const Stream stream = stream_of(compressed_record(0x100, "pc.ram", packed));
    const ReadResult result = read_bytes(stream.bytes);
    REQUIRE(result.error == "");
    Bytes page;
    const std::string error = error_of([&] { page = guest_bytes(*result.image, 0, 4096); });
    if (error == "no error") CHECK(page == soft_page(1));  // FLEVEL does not matter
  }
}

TEST_CASE("compressed pages: many losses are counted") {
  ByteWriter records;
  for (std::uint64_t i = 0; i < 40; ++i) {
    records.append(compressed_record(i * 4096 | 0x100, "pc.ram", Bytes(20)));
  }
  QevmBuilder stream = pc().ram_start({{"pc.ram", 40 * 4096, {}}, {"rest", 4096, {}}});
  stream.ram_part(RamPayload().page("rest", 0, 1).eos());
  stream.end(2, records.be64(0x10).bytes());
  const ReadResult result =
      read_bytes(stream.eos().bytes(), {.salvage = true, .block_addresses = {{"rest", {kGiB}}}});
  REQUIRE(result.error == "");
  CHECK(result.diagnostics->of(Diagnostics::Level::loss).size() == 22);
  CHECK(result.has_loss("input: 20 more damaged pages left out"));
  CHECK(result.image->runs.extents() == std::vector{guest_range(kGiB, kGiB + 4096)});
}

TEST_CASE("compressed pages: several threads copy what one does, deltas among them") {
  constexpr std::uint64_t kMany = 9000;  // three units of the copy engine
  ByteWriter records;
  for (std::uint64_t i = 0; i < kMany; ++i) {
    const std::uint64_t offset = i * 4096;
    if (i % 5 == 4) {
      records.append(RamPayload().page("pc.ram", offset, i).bytes());
    } else {
      records.append(compressed_record(offset | 0x100, "pc.ram", packed_page(i)));
    }
  }
  for (std::uint64_t i = 0; i < kMany; i += 3) {
    records.append(delta_record(i * 4096 | 0x40, "pc.ram",
                                Delta().same(7).changed(from_hex("01 02")).bytes()));
  }
  QevmBuilder stream = pc().ram_start({{"pc.ram", kMany * 4096, {}}});
  stream.end(2, records.be64(0x10).bytes());
  const ReadResult result = read_bytes(stream.eos().bytes());
  REQUIRE(result.error == "");
  PlanBuilder builder;
  for (const GuestRange extent : result.image->runs.extents()) builder.guest(extent);
  const OutputPlan plan = std::move(builder).finish();
  const Bytes expected = naive_output(plan, *result.image);
  CHECK(executed(plan, *result.image, 1) == expected);
  CHECK(executed(plan, *result.image, 4) == expected);
}

TEST_CASE("compressed pages: VMCOREINFO is found in one") {
  Bytes page(4096);
  const Bytes note = vmcoreinfo_note("OSRELEASE=6.1\n");
  std::copy(note.begin(), note.end(), page.begin());
  QevmBuilder stream = pc().ram_start({{"pc.ram", 0x4000, {}}});
  stream.end(
      2,
      ByteWriter().append(compressed_record(0x1100, "pc.ram", zlib_of(page))).be64(0x10).bytes());
  stream.device("vmcoreinfo", vmcoreinfo_state({.paddr = 0x1000}));
  const ReadResult result = read_bytes(stream.eos().description().bytes());
  REQUIRE(result.error == "");
  REQUIRE(result.image->vmcoreinfo.has_value());
  CHECK(result.image->vmcoreinfo->text == "OSRELEASE=6.1\n");
}

}  // namespace
}  // namespace vmconvert::test
