#include <functional>

#include "support/image_bytes.h"
#include "support/pc_stream.h"
#include "support/reading.h"
#include "support/test.h"
#include "support/xen_builder.h"
#include "xen/xen_save_reader.h"

namespace vmconvert::test {
namespace {

XenPage page(std::uint64_t pfn, std::uint64_t number, unsigned type = 0) {
  return {pfn | std::uint64_t{type} << 28, page_of(number)};
}
XenPage hole(std::uint64_t pfn) { return {pfn | 0xf0000000}; }

/// Reads a stream that nothing in its beginning tells.
ReadResult read_as_save(const Bytes& bytes, const ReadOptions& options = {}) {
  ReadResult result;
  result.diagnostics = std::make_unique<CollectingDiagnostics>();
  try {
    const auto source = std::make_shared<MemorySource>("input", bytes);
    result.image = xen::kXenSave.read(Input(source, options.salvage), options, *result.diagnostics);
    check_image(*result.image);
  } catch (const Error& error) {
    result.error = error.what();
  }
  return result;
}

const X86Registers& x86(const GuestImage& image, std::size_t i) {
  return std::get<X86Registers>(image.vcpus.at(i));
}

/// A PV guest of 2000 pages' room, with all that its kind of stream can have.
XenLegacyStream pv_stream(unsigned word, unsigned width) {
  XenLegacyStream stream(word, 2000);
  const Bytes context = width == 8 ? XenContext{}.wide() : XenContext{}.narrow();
  stream.blocks({{"vcpu", context}, {"extv", {}}, {"xcnt", ByteWriter().le32(800).bytes()}});
  stream.frame_list(1999 / (4096 / width) + 1);
  stream.batch({page(0, 0), page(1, 10, 1), page(3, 3), page(1999, 5), hole(0), hole(0)});
  stream.vcpu_info(2, 0b101).chunk(-7, Bytes(20)).chunk(-8, Bytes(12)).chunk(-13);
  stream.chunk(-18, ByteWriter().le32(3).text("abc").bytes());
  stream.batch({page(1, 1, 9), page(4, 4)}).chunk(-9).chunk(0).unmapped({3, 7});
  for (const std::uint64_t rax : {1U, 2U}) {
    stream.raw(width == 8 ? XenContext{.rax = rax, .user_root = 0x2001, .cr3 = 0x1000}.wide()
                          : XenContext{.rax = rax, .cr3 = 0x1000}.narrow());
    stream.raw(Bytes(128, std::byte{1}));
    stream.raw(ByteWriter().le64(7).le64(9).fill(9, 2).bytes());
  }
  return stream.raw(page_of(777));
}

TEST_CASE("xen legacy: PV guests of either toolstack") {
  for (const unsigned word : {8U, 4U}) {
    for (const unsigned width : {8U, 4U}) {
      CAPTURE(word);
      CAPTURE(width);
      const Bytes stream = pv_stream(word, width).bytes();
      for (const Bytes& file :
           {stream, xl_file("name=\"old\"\n", stream, 0),
            xend_file("(domain (name old) (memory 96) (image (linux)))", stream),
            libvirt_xen_file("<domain><name>old</name></domain>", stream)}) {
        const ReadResult result = read_bytes(file);
        REQUIRE(result.error == "");
        const GuestImage& image = *result.image;
        CHECK(image.runs.extents() == std::vector{guest_range(0, 0x2000),
                                                  guest_range(0x4000, 0x5000),
                                                  guest_range(0x7cf000, 0x7d0000)});
        CHECK(is_page(image, 0, 0));
        CHECK(is_page(image, 0x1000, 1));
        CHECK(is_page(image, 0x7cf000, 5));
        CHECK(image.arch == (width == 8 ? Arch::x86_64 : Arch::i386));
        CHECK(image.xen->tables == XenTables::pseudo_physical);
        REQUIRE(image.vcpus.size() == 2);
        CHECK(x86(image, 0).rax == 1);
        CHECK(x86(image, 1).rax == 2);
        CHECK(x86(image, 0).cr3 == 0x1000);
        CHECK(image.xen->vcpus[0].user_root == (width == 8 ? 2 : 0));
        Bytes shared(4096);
        image.sources[0]->read_at(image.xen->shared_info.value().range.begin(), shared);
        CHECK(shared == page_of(777));
        if (file != stream) CHECK(image.metadata.facts.at(0).value == "old");
      }
    }
  }
}

TEST_CASE("xen legacy: the configuration of xend") {
  const ReadResult result = read_bytes(
      xend_file("(domain (uuid 77) (vcpus 2) (memory 96) (name 'old guest') (image (linux (kernel "
                "/boot/vmlinuz) (args 'root=/dev/xvda ro'))))",
                pv_stream(8, 8).bytes()));
  REQUIRE(result.error == "");
  std::vector<std::string> facts;
  for (const Fact& fact : result.image->metadata.facts)
    facts.push_back(fact.key + "=" + fact.value);
  CHECK(facts == std::vector<std::string>{"domain.name=old guest", "domain.uuid=77",
                                          "domain.vcpus=2", "domain.memory=96 MiB",
                                          "domain.kernel=/boot/vmlinuz",
                                          "domain.cmdline=root=/dev/xvda ro", "domain.type=pv",
                                          "xen.page-tables=guest frames", "xen.stream=legacy"});
  CHECK(result.image->attachments.at(0).name == "domain.sxp");
}

TEST_CASE("xen legacy: a very old PV stream has neither blocks nor vCPU chunk") {
  for (const unsigned word : {8U, 4U}) {
    XenLegacyStream stream(word, 1000);
    stream.frame_list(999 / (4096 / word) + 1)
        .batch({page(0, 0), page(5, 5)})
        .chunk(0)
        .unmapped({});
    stream.raw(word == 8 ? XenContext{}.wide() : XenContext{}.narrow()).raw(page_of(777));
    const ReadResult result = read_as_save(stream.bytes());
    REQUIRE(result.error == "");
    CHECK(is_page(*result.image, 0x5000, 5));
    CHECK(result.image->vcpus.size() == 1);
    CHECK(result.image->xen->width == word);
    CHECK(read_bytes(xend_file("(domain)", stream.bytes())).error == "");
    CHECK(read_bytes(stream.bytes()).error.find("none of the known formats") != std::string::npos);
  }
}

TEST_CASE("xen legacy: HVM guests") {
  for (const unsigned word : {8U, 4U}) {
    XenLegacyStream stream(word, 0x100000);
    stream.batch({page(0, 0), page(1, 9), hole(5)}).vcpu_info(0, 1).chunk(-3, Bytes(12));
    stream.batch({page(1, 1)}).chunk(-9).chunk(0).raw(Bytes(24));
    const Bytes context = ByteWriter()
                              .append(hvm_record(2, 0, HvmCpuState{}.bytes()))
                              .append(hvm_record(0, 0, {}))
                              .bytes();
    stream.raw(ByteWriter().le32(context.size()).append(context).bytes());
    stream.raw(ByteWriter().text("DeviceModelRecord0002").le32(3).text("abc").bytes());
    const ReadResult result = read_as_save(stream.bytes());
    REQUIRE(result.error == "");
    CHECK(result.image->xen->type == XenGuestType::hvm);
    CHECK(result.image->runs.extents() == std::vector{guest_range(0, 0x2000)});
    CHECK(is_page(*result.image, 0x1000, 1));
    CHECK(x86(*result.image, 0).rax == 5);
  }
}

TEST_CASE("xen legacy: of checkpoints the last complete one counts") {
  XenLegacyStream stream(8, 1000);
  stream.blocks({{"vcpu", XenContext{}.wide()}}).frame_list(2);
  const auto round = [&](std::uint64_t number) {
    stream.batch({page(0, number), page(number, number)}).chunk(0).unmapped({});
    stream.raw(XenContext{.rax = number}.wide()).raw(page_of(777));
  };
  round(10), round(20);
  const std::size_t second = stream.size();
  round(30);
  const Bytes whole = stream.bytes();
  for (const std::size_t size : {second, second + 20, whole.size() - 1}) {
    const ReadResult result =
        read_bytes(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)));
    REQUIRE(result.error == "");
    CHECK(is_page(*result.image, 0, 20));
    CHECK(result.image->runs.total_bytes() == 3 * 4096);
    CHECK(x86(*result.image, 0).rax == 20);
    CHECK(result.has_warning(
              "the stream breaks off after checkpoint 2, which is what is converted") ==
          (size != second));
  }
  CHECK(is_page(*read_bytes(whole).image, 0, 30));
}

TEST_CASE("xen legacy: pages sent again for comparison are passed over") {
  XenLegacyStream stream(8, 1000);
  stream.blocks({{"vcpu", XenContext{}.wide()}}).frame_list(2).batch({page(0, 0)}).chunk(-1);
  stream.batch({page(0, 5), page(1, 1)}).chunk(-9).chunk(0).unmapped({});
  const ReadResult result = read_bytes(stream.raw(XenContext{}.wide()).raw(page_of(7)).bytes());
  REQUIRE(result.error == "");
  CHECK(result.image->runs.extents() == std::vector{guest_range(0, 0x1000)});
}

TEST_CASE("xen legacy: streams that cannot be are refused") {
  const auto start = [](std::uint64_t pages = 1000) { return XenLegacyStream(8, pages); };
  const auto blocks = [&](const std::vector<std::pair<std::string, Bytes>>& list) {
    return xend_file("", start().blocks(list).bytes());
  };
  const Bytes vcpu = XenContext{}.wide();
  CHECK(read_bytes(xend_file("", start(0).bytes())).error == "input: offset 0x14: p2m size is 0");
  CHECK(read_bytes(xend_file("", start(0x10000001).bytes())).error ==
        "input: offset 0x14: p2m size is 268435457");
  CHECK(read_bytes(blocks({{"vcpu", Bytes(7)}})).error.ends_with("block vcpu has 7 bytes"));
  CHECK(read_bytes(blocks({{"abcd", Bytes(70'000)}}))
            .error.ends_with("extended info size is 70008, more than there can be"));
  const auto chunk = [&](std::int32_t type, const Bytes& body = {}) {
    return read_bytes(start().blocks({{"vcpu", vcpu}}).frame_list(2).chunk(type, body).bytes())
        .error;
  };
  CHECK(chunk(-5).ends_with(": chunk type -5 is not known"));
  CHECK(chunk(1025, Bytes(9000)).ends_with(": chunk type 1025 is not known"));
  CHECK(chunk(-12, Bytes(16))
            .ends_with(": chunk type is that of compressed pages, which are not supported"));
  CHECK(chunk(-2, ByteWriter().le32(8192).bytes())
            .ends_with(": highest vCPU is 8192, more than a guest has"));
  CHECK(chunk(1, ByteWriter().le64(0x50000001).bytes())
            .ends_with(": page word 0x50000001 is of a type that there is not"));
  CHECK(chunk(1, ByteWriter().le64(0x100000001).bytes())
            .ends_with(": page word 0x100000001 is of a type that there is not"));
  CHECK(chunk(1, ByteWriter().le64(1).bytes())
            .ends_with(": page is cut off: 4096 bytes wanted, 0 left"));
  CHECK(chunk(0, ByteWriter().le32(5).bytes())
            .ends_with(": unmapped page count is more than the file can hold"));
  CHECK(chunk(0, ByteWriter().le32(0).bytes())
            .ends_with(": registers is cut off: 5168 bytes wanted, 0 left"));
}

TEST_CASE("xen legacy: salvage of a stream that is cut off keeps the pages that are there") {
  XenLegacyStream stream(8, 1000);
  stream.blocks({{"vcpu", XenContext{}.wide()}}).frame_list(2).batch({page(0, 10), page(1, 1)});
  stream.batch({page(0, 0), page(2, 2)});
  const Bytes bytes(stream.bytes().begin(), stream.bytes().end() - 1);
  CHECK(read_bytes(bytes).error.ends_with(": page is cut off: 4096 bytes wanted, 4095 left"));
  const ReadResult result = read_bytes(bytes, {.salvage = true});
  REQUIRE(result.error == "");
  CHECK(result.image->runs.extents() == std::vector{guest_range(0, 0x2000)});
  CHECK(is_page(*result.image, 0, 0));
  CHECK(result.has_loss("; what follows is lost, and pages may be of different moments"));
}

}  // namespace
}  // namespace vmconvert::test
