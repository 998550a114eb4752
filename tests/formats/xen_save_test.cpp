#include <functional>

#include "all_formats.h"
#include "support/compress.h"
#include "support/image_bytes.h"
#include "support/pc_stream.h"
#include "support/reading.h"
#include "support/scratch_folder.h"
#include "support/test.h"
#include "support/xen_builder.h"
#include "vmconvert/convert/choose_format.h"

namespace vmconvert::test {
namespace {

constexpr std::uint64_t kGone = std::uint64_t{0xf} << 60;

XenPage page(std::uint64_t pfn, std::uint64_t number, unsigned type = 0) {
  return {pfn | std::uint64_t{type} << 60, page_of(number)};
}
XenPage hole(std::uint64_t pfn) { return {pfn | kGone}; }

const X86Registers& x86(const GuestImage& image, std::size_t i) {
  return std::get<X86Registers>(image.vcpus.at(i));
}

bool has_fact(const GuestImage& image, std::string_view key, std::string_view value) {
  for (const Fact& fact : image.metadata.facts) {
    if (fact.key == key && fact.value == value) return true;
  }
  return false;
}

XenStream pv_stream() {
  XenStream stream;
  stream.libxl().libxc(1).pv_info().record(0x11, Bytes(24)).record(0x12).record(0x10);
  stream.record(3, ByteWriter().le32(0).le32(5).le64(2).bytes());
  stream.pages({page(0, 0), page(1, 1, 1), page(2, 2, 0xc), hole(3), page(4, 4, 9)});
  stream.record(7, page_of(777));
  stream.vcpu(0, XenContext{.user_root = 0x2001, .cr3 = 0x1000}.wide());
  stream.record(5, Bytes(72)).record(6, Bytes(24)).record(0x0b, Bytes(3));
  stream.vcpu(2, XenContext{.rip = 0x401000, .flags = 0x21, .user_root = 0x2000}.wide());
  return stream;
}

XenStream hvm_stream() {
  XenStream stream;
  stream.libxl().libxc(2).record(0x10).pages({page(0, 0), hole(1), page(0x100000, 5)});
  ByteWriter context;
  context.append(hvm_record(1, 0, Bytes(24)))
      .append(hvm_record(2, 1, HvmCpuState{.rax = 6}.bytes()));
  context.append(hvm_record(2, 0, HvmCpuState{}.bytes())).append(hvm_record(5, 0, Bytes(24)));
  context.append(hvm_record(99, 0, Bytes(1))).append(hvm_record(0, 0, {}));
  stream.record(9, context.bytes()).record(0x0a, ByteWriter().le32(0).le32(0).bytes());
  stream.record(0);
  stream.record(2, ByteWriter().le32(2).le32(0).text("a").u8(0).bytes());
  stream.record(3, ByteWriter().le32(2).le32(0).text("QEVMstate").bytes());
  return stream.record(0);
}

TEST_CASE("xen save: a PV guest, in each wrapper") {
  const Bytes stream = pv_stream().end().bytes();
  XenStream bare;
  bare.libxc(1, 2).pv_info().pages({page(0, 0), page(1, 1, 1), page(2, 2, 0xc), page(4, 4)});
  bare.record(7, page_of(777));
  bare.vcpu(0, XenContext{.user_root = 0x2001, .cr3 = 0x1000}.wide());
  bare.vcpu(2, XenContext{.rip = 0x401000, .flags = 0x21, .user_root = 0x2000}.wide());
  const std::vector<Bytes> files{
      stream,
      xl_file(R"({"c_info": {"name": "guest"}})", stream),
      libvirt_xen_file("<domain/>", stream),
      ByteWriter().text("a wrapper nobody knows").append(stream).bytes(),
      bare.end(false).bytes(),
      ByteWriter().fill(70'001, 7).append(bare.bytes()).bytes(),
  };
  for (const Bytes& file : files) {
    CAPTURE(file.size());
    ReadResult result = read_bytes(file);
    if (file.size() > 70'000) {  // out of the probe's sight
      CHECK(result.error.find("is in none of the known formats") != std::string::npos);
      continue;
    }
    REQUIRE(result.error == "");
    const GuestImage& image = *result.image;
    CHECK(image.arch == Arch::x86_64);
    CHECK(image.runs.extents() == std::vector{guest_range(0, 0x3000), guest_range(0x4000, 0x5000)});
    for (const std::uint64_t pfn : {0U, 1U, 2U, 4U}) CHECK(is_page(image, pfn * 4096, pfn));
    const XenFacts& xen = *image.xen;
    CHECK(xen.type == XenGuestType::pv);
    CHECK(xen.tables == XenTables::pseudo_physical);
    CHECK_FALSE(xen.p2m);
    REQUIRE(xen.shared_info);
    Bytes shared(4096);
    image.sources[0]->read_at(xen.shared_info->range.begin(), shared);
    CHECK(shared == page_of(777));
    REQUIRE(image.vcpus.size() == 2);
    CHECK(x86(image, 0).cr3 == 0x1000);
    CHECK(xen.vcpus[0].root == 1);
    CHECK(xen.vcpus[0].user_root == 2);
    CHECK(xen.vcpus[1].user_root == 0);  // without the bit that says that it is one
    CHECK(x86(image, 1).rip == 0x401000);
    CHECK(has_fact(image, "xen.page-tables", "guest frames"));
    CHECK(has_fact(image, "xen.version", "4.17"));
  }
}

TEST_CASE("xen save: a stream far behind the beginning is found if it is asked for") {
  const Bytes file = ByteWriter().fill(70'001, 7).append(pv_stream().end().bytes()).bytes();
  const auto source = std::make_shared<MemorySource>("input", file);
  CollectingDiagnostics diagnostics;
  const Format& format = choose_format(all_formats(), "xen-save", *source);
  const GuestImage image = format.read(Input(source, false), {}, diagnostics);
  CHECK(is_page(image, 0x4000, 4));
  CHECK(diagnostics.has(Diagnostics::Level::decision, "save stream, a stream at offset 0x11171"));
  const auto none = std::make_shared<MemorySource>("input", Bytes(4096));
  CHECK(error_of([&] { format.read(Input(none, false), {}, diagnostics); }) ==
        "input: offset 0x0: p2m size is 0");
}

TEST_CASE("xen save: an HVM guest's registers, devices and emulator") {
  const ReadResult result = read_bytes(hvm_stream().bytes());
  REQUIRE(result.error == "");
  const GuestImage& image = *result.image;
  CHECK(image.runs.extents() ==
        std::vector{guest_range(0, 0x1000), guest_range(0x100000000, 0x100001000)});
  REQUIRE(image.vcpus.size() == 2);
  CHECK(x86(image, 1).rax == 6);
  const X86Registers& r = x86(image, 0);
  CHECK(r.rax == 5);
  CHECK(r.rbx == 0xb);
  CHECK(r.rcx == 0xc);
  CHECK(r.rdx == 0xd);
  CHECK(r.rbp == 0xbb);
  CHECK(r.rsi == 0x51);
  CHECK(r.rdi == 0xd1);
  CHECK(r.rsp == 0xffffc90000002000);
  CHECK(r.r8_to_r15 == std::array<std::uint64_t, 8>{8, 9, 10, 11, 12, 13, 14, 15});
  CHECK(r.rip == 0xffffffff81000456);
  CHECK(r.rflags == 0x246);
  CHECK(r.cr0 == 0x80050033);
  CHECK(r.cr2 == 0x1234);
  CHECK(r.cr3 == 0x2a10000);
  CHECK(r.cr4 == 0x1506f0);
  CHECK(r.cs == X86Segment{0x10, 0x1000, 0xa09b00, 0x2000});
  CHECK(r.ds.selector == 0x18);
  CHECK(r.es.selector == 0x20);
  CHECK(r.fs == X86Segment{0x28, 0x1003, 0, 0x2003});
  CHECK(r.gs == X86Segment{0x30, 0x1004, 0, 0xffff888005a00000});
  CHECK(r.ss.selector == 0x38);
  CHECK(r.tr == X86Segment{0x40, 0x1006, 0, 0x2006});
  CHECK(r.ldt == X86Segment{0x48, 0x1007, 0, 0x2007});
  CHECK(r.idt == X86Segment{0, 0x1008, 0, 0x2008});
  CHECK(r.gdt == X86Segment{0, 0x1009, 0, 0x2009});
  CHECK(r.kernel_gs_base == 0x77);
  CHECK(r.long_mode);
  REQUIRE(image.metadata.devices.size() == 5);
  CHECK(image.metadata.devices[0].name == "header");
  CHECK(image.metadata.devices[1].name == "cpu");
  CHECK(image.metadata.devices[1].instance == 1);
  CHECK(image.metadata.devices[3].name == "lapic");
  CHECK(image.metadata.devices[4].name == "hvm-record-99");
  REQUIRE(image.attachments.size() == 1);
  CHECK(image.attachments[0].name == "emulator.qevm");
  const auto place = std::get<SourceBytes>(image.attachments[0].content);
  Bytes state(place.range.size());
  image.sources[place.source]->read_at(place.range.begin(), state);
  CHECK(state == ByteWriter().text("QEVMstate").bytes());
}

TEST_CASE("xen save: HVM contexts of older versions, and of 32-bit guests") {
  const auto with = [](const HvmCpuState& cpu) {
    XenStream stream;
    stream.libxc(2).pages({page(0, 0)});
    stream.record(
        9, ByteWriter().append(hvm_record(2, 0, cpu.bytes())).append(hvm_record(0, 0, {})).bytes());
    return read_bytes(stream.end(false).bytes());
  };
  CHECK(with({.size = 1016}).error == "");
  CHECK(with({.size = 1024}).error == "");
  CHECK(with({.size = 1040}).error.ends_with("CPU record has 1040 bytes, a layout not known"));
  const ReadResult narrow = with({.rip = 0x80000000, .efer = 0});
  CHECK(narrow.image->arch == Arch::i386);
  CHECK_FALSE(x86(*narrow.image, 0).long_mode);
}

TEST_CASE("xen save: a live stream repeats pages and takes some back") {
  XenStream stream;
  stream.libxc(1).pv_info();
  stream.pages({page(0, 10), page(1, 11), page(2, 12), page(3, 13), hole(7)});
  stream.pages({page(3, 3), hole(1), page(9, 9)});
  stream.pages({page(2, 2), page(0, 0), hole(9), page(8, 8), hole(5)});
  stream.pages({page(9, 99)});
  stream.vcpu(0, XenContext{.rax = 7}.wide()).vcpu(0, XenContext{.rax = 8}.wide());
  const ReadResult result = read_bytes(stream.end(false).bytes());
  REQUIRE(result.error == "");
  const GuestImage& image = *result.image;
  CHECK(image.runs.extents() == std::vector{guest_range(0, 0x1000), guest_range(0x2000, 0x4000),
                                            guest_range(0x8000, 0xa000)});
  for (const std::uint64_t pfn : {0U, 2U, 3U, 8U}) CHECK(is_page(image, pfn * 4096, pfn));
  CHECK(is_page(image, 0x9000, 99));
  CHECK(result.has_decision(
      "a live save: 3 pages came again, 2 pages went away; the last of each counts"));
  CHECK(x86(image, 0).rax == 8);
}

TEST_CASE("xen save: pages sent again for comparison are passed over") {
  XenStream stream;
  stream.libxc(1).pv_info().pages({page(0, 0)}).record(0x0d).pages({page(0, 5), page(1, 1)});
  const ReadResult result = read_bytes(stream.end(false).bytes());
  REQUIRE(result.error == "");
  CHECK(result.image->runs.extents() == std::vector{guest_range(0, 0x1000)});
  CHECK(is_page(*result.image, 0, 0));
}

TEST_CASE("xen save: of checkpoints the last complete one counts") {
  for (const bool wrapped : {true, false}) {
    CAPTURE(wrapped);
    XenStream stream;
    if (wrapped) stream.libxl();
    stream.libxc(1)
        .pv_info()
        .pages({page(0, 10), page(1, 11)})
        .vcpu(0, XenContext{.rax = 1}.wide());
    const auto checkpoint = [&] {
      stream.record(0x0e);
      if (wrapped) stream.record(3, Bytes(12)).record(4);
    };
    checkpoint();
    stream.pages({page(0, 20), page(2, 22)}).vcpu(0, XenContext{.rax = 2}.wide());
    checkpoint();
    const std::size_t second = stream.size();
    stream.pages({page(0, 30), hole(1)}).vcpu(0, XenContext{.rax = 3}.wide());
    const Bytes broken = stream.bytes();
    for (const std::size_t size : {second, second + 5, broken.size()}) {
      const ReadResult result =
          read_bytes(Bytes(broken.begin(), broken.begin() + static_cast<std::ptrdiff_t>(size)));
      REQUIRE(result.error == "");
      const GuestImage& image = *result.image;
      CHECK(is_page(image, 0, 20));
      CHECK(is_page(image, 0x1000, 11));
      CHECK(is_page(image, 0x2000, 22));
      CHECK(x86(image, 0).rax == 2);
      CHECK(has_fact(image, "xen.checkpoints", "2"));
      CHECK(result.has_warning(
          "the stream breaks off after checkpoint 2, which is what is converted"));
    }
    const ReadResult result = read_bytes(stream.end(wrapped).bytes());
    REQUIRE(result.error == "");
    CHECK(is_page(*result.image, 0, 30));
    CHECK(result.image->runs.extents() ==
          std::vector{guest_range(0, 0x1000), guest_range(0x2000, 0x3000)});
    CHECK(x86(*result.image, 0).rax == 3);
  }
}

TEST_CASE("xen save: a checkpoint that libxl did not finish does not count") {
  XenStream stream;
  stream.libxl().libxc(1).pv_info().pages({page(0, 10)}).record(0x0e).record(4);
  stream.pages({page(0, 20)}).record(0x0e);
  const ReadResult result = read_bytes(stream.bytes());
  REQUIRE(result.error == "");
  CHECK(is_page(*result.image, 0, 10));
}

TEST_CASE("xen save: configurations, and extracting them") {
  const Bytes stream = pv_stream().end().bytes();
  const std::string json = R"({"c_info": {"name": "g1", "uuid": "0526faa6", "type": "pvh"},
    "b_info": {"max_vcpus": 2, "target_memkb": 98304, "max_memkb": 131072,
               "kernel": "/boot/vmlinuz", "cmdline": "console=hvc0"}})";
  ReadResult result = read_bytes(xl_file(json, stream));
  REQUIRE(result.error == "");
  for (const auto& [key, value] :
       std::vector<std::pair<std::string, std::string>>{{"domain.name", "g1"},
                                                        {"domain.uuid", "0526faa6"},
                                                        {"domain.type", "pvh"},
                                                        {"domain.vcpus", "2"},
                                                        {"domain.memory", "98304 KiB"},
                                                        {"domain.memory-max", "131072 KiB"},
                                                        {"domain.kernel", "/boot/vmlinuz"},
                                                        {"domain.cmdline", "console=hvc0"}}) {
    CAPTURE(key);
    CHECK(has_fact(*result.image, key, value));
  }
  CHECK(result.image->metadata.machine == "Xen, PVH guest");
  REQUIRE(result.image->attachments.size() == 1);
  CHECK(result.image->attachments[0].name == "domain.json");
  CHECK(result.image->attachments[0].kind == Attachment::Kind::configuration);
  const auto place = std::get<SourceBytes>(result.image->attachments[0].content);
  Bytes text(place.range.size());
  result.image->sources[0]->read_at(place.range.begin(), text);
  CHECK(text == ByteWriter().text(json).bytes());

  const std::string cfg = "# comment\nname = \"g2\"\nmemory=96\n vcpus = 2 \nbuilder = 'hvm'\n";
  result = read_bytes(xl_file(cfg, stream, 2));
  REQUIRE(result.error == "");
  CHECK(has_fact(*result.image, "domain.name", "g2"));
  CHECK(has_fact(*result.image, "domain.memory", "96 MiB"));
  CHECK(has_fact(*result.image, "domain.vcpus", "2"));
  CHECK(has_fact(*result.image, "domain.type", "hvm"));
  CHECK(result.image->attachments[0].name == "domain.cfg");

  const std::string xml =
      "<domain type='xen'><name>g3</name><uuid>77</uuid><vcpu>4</vcpu>"
      "<currentMemory unit='KiB'>500</currentMemory><os><type>xenpvh</type></os>"
      "</domain>";
  result = read_bytes(libvirt_xen_file(xml, stream));
  REQUIRE(result.error == "");
  CHECK(has_fact(*result.image, "domain.name", "g3"));
  CHECK(has_fact(*result.image, "domain.uuid", "77"));
  CHECK(has_fact(*result.image, "domain.vcpus", "4"));
  CHECK(has_fact(*result.image, "domain.memory", "500 KiB"));
  CHECK(has_fact(*result.image, "domain.type", "pvh"));
  CHECK(result.image->attachments[0].name == "domain.xml");

  for (const std::string& odd : {std::string("{"), std::string(100'000, '['), std::string("[]"),
                                 std::string("{\"c_info\": 1, \"b_info\": []}")}) {
    result = read_bytes(xl_file(odd, stream));
    CHECK(result.error == "");
    CHECK_FALSE(has_fact(*result.image, "domain.name", ""));
  }
}

TEST_CASE("xen save: compressed as a whole") {
  const ScratchFolder folder;
  const std::string path = folder.path("guest.save.zst");
  write_file(path, compress(Codec::zstd, xl_file("{}", pv_stream().end().bytes())));
  CollectingDiagnostics diagnostics;
  const Input input = Input::open(path, false, diagnostics);
  const Format& format = choose_format(all_formats(), "", *input.source());
  CHECK(format.name == "xen-save");
  CHECK(is_page(format.read(input, {}, diagnostics), 0x4000, 4));
}

TEST_CASE("xen save: headers that cannot be are refused") {
  const Bytes whole = xl_file("{}", pv_stream().end().bytes());
  const std::size_t libxl = 48 + 4 + 3, libxc = libxl + 24;
  const auto error = [&](std::size_t at, std::string_view patch) {
    Bytes bytes = whole;
    overwrite(bytes, at, from_hex(patch));
    return read_bytes(bytes).error;
  };
  CHECK(error(32, "01 02 03 04") ==
        "input: offset 0x20: byte order is big-endian, which is not supported");
  CHECK(error(32, "00") == "input: offset 0x20: byte order 0x1020300 is not known");
  CHECK(error(36, "07") == "input: offset 0x24: mandatory flags 0x7 are not known");
  CHECK(error(44, "ff ff ff ff").find("optional data is cut off") != std::string::npos);
  CHECK(error(48, "04") == "input: offset 0x34: configuration is cut off: 4 bytes wanted, 3 left");
  CHECK(error(libxl + 11, "03") ==
        "input: offset 0x3f: version 3 of the libxl stream is not supported");
  CHECK(error(libxl + 15, "01") ==
        "input: offset 0x43: big-endian libxl streams are not supported");
  CHECK(error(libxc, "00") == "input: offset 0x4f: is no libxc stream");
  CHECK(error(libxc + 15, "04") ==
        "input: offset 0x5b: version 4 of the libxc stream is not supported");
  CHECK(error(libxc + 17, "01") ==
        "input: offset 0x5f: big-endian libxc streams are not supported");
  CHECK(error(libxc + 24, "03") == "input: offset 0x67: domain type 3 is not known");
  CHECK(error(libxc + 28, "0d") ==
        "input: offset 0x6b: page shift 13 is not supported; only 12 is");
  CHECK(error(libxc + 40, "13") == "input: offset 0x77: record type 0x13 of libxc is not known");
  CHECK(error(libxl + 16, "06") == "input: offset 0x47: record type 0x6 of libxl is not known");
  CHECK(error(libxl + 16, "00") ==
        "input: offset 0x4f: stream holds no libxc stream, so no memory");
}

TEST_CASE("xen save: records that cannot be are refused, and salvage leaves them out") {
  const auto damaged = [](const std::function<void(XenStream&)>& add,
                          const ReadOptions& options = {}) {
    XenStream stream;
    stream.libxc(1).pv_info().pages({page(0, 0)});
    add(stream);
    stream.pages({page(6, 6)});
    return read_bytes(stream.end(false).bytes(), options);
  };
  const auto record = [](std::uint32_t type, const Bytes& body) {
    return [=](XenStream& stream) { stream.record(type, body); };
  };
  const auto word = [&](std::uint64_t value) {
    return record(1, ByteWriter().le32(1).le32(0).le64(value).append(page_of(1)).bytes());
  };
  const std::vector<std::pair<std::function<void(XenStream&)>, std::string>> cases{
      {record(1, {}), "page count is cut off: 4 bytes wanted, 0 left"},
      {record(1, Bytes(8)), "page count is zero"},
      {record(1, ByteWriter().le32(0xffffffff).le32(0).bytes()),
       "page count is 4294967295, more than a record can hold"},
      {record(1, ByteWriter().le32(2).le32(0).le64(0).bytes()),
       "page list is cut off: 16 bytes wanted, 8 left"},
      {word(0x5000000000000001), "page word 0x5000000000000001 is of a type that there is not"},
      {word(0x8000000000000001), "page word 0x8000000000000001 is of a type that there is not"},
      {word(0x0000010000000000), "page word 0x10000000000 is of a page too high"},
      {word(0xd000000000000001), "page data has 4096 bytes for 0 pages"},
      {record(1, ByteWriter().le32(1).le32(0).le64(0).append(Bytes(100)).bytes()),
       "page data has 100 bytes for 1 page"},
      {record(2, ByteWriter().u8(5).u8(4).bytes()), "guest width is 5"},
      {record(2, ByteWriter().u8(8).u8(3).bytes()), "page-table levels are 3"},
      {record(4, ByteWriter().le32(8192).le32(0).bytes()),
       "vCPU number is 8192, more than a guest has"},
      {record(4, ByteWriter().le32(0).le32(0).append(Bytes(5167)).bytes()),
       "registers is cut off: 5168 bytes wanted, 5167 left"},
      {record(7, Bytes(100)), "shared info page is cut off: 4096 bytes wanted, 100 left"},
      {record(3, Bytes(3)), "first pfn is cut off: 4 bytes wanted, 3 left"},
  };
  for (const auto& [add, text] : cases) {
    CAPTURE(text);
    ReadResult result = damaged(add);
    CHECK(result.error.ends_with(": " + text));
    result = damaged(add, {.salvage = true});
    REQUIRE(result.error == "");
    CHECK(result.has_loss(text + "; the record is left out"));
    CHECK(is_page(*result.image, 0, 0));
    CHECK(is_page(*result.image, 0x6000, 6));
  }
  CHECK(damaged(record(0x80000077, Bytes(5))).error == "");  // may be passed over
  const auto many = [&](XenStream& stream) {
    for (int i = 0; i < 23; ++i) stream.record(1, Bytes(8));
  };
  const ReadResult result = damaged(many, {.salvage = true});
  CHECK(result.diagnostics->of(Diagnostics::Level::loss).size() == 21);
  CHECK(result.has_loss("3 more damaged records left out"));
}

TEST_CASE("xen save: a record longer than any, and a second libxc stream") {
  XenStream stream;
  stream.libxc(1);
  Bytes bytes = stream.bytes();
  const Bytes head = ByteWriter().le32(1).le32((128 << 20) + 1).bytes();
  bytes.insert(bytes.end(), head.begin(), head.end());
  CHECK(read_bytes(bytes).error ==
        "input: offset 0x2c: record length is 134217729, more than there can be");
  XenStream twice;
  twice.libxl().libxc(1).record(0).record(1);
  CHECK(read_bytes(twice.bytes()).error.ends_with(": stream holds two libxc streams"));
}

TEST_CASE("xen save: HVM contexts that cannot be are refused, and salvage goes without") {
  const auto with = [](const Bytes& context, bool salvage) {
    XenStream stream;
    stream.libxc(2).pages({page(0, 0)}).record(9, context);
    return read_bytes(stream.end(false).bytes(), {.salvage = salvage});
  };
  const Bytes cpu = hvm_record(2, 0, HvmCpuState{}.bytes());
  const Bytes twice = ByteWriter().append(cpu).append(cpu).bytes();
  const std::vector<std::pair<Bytes, std::string>> cases{
      {{}, "typecode of an HVM record is cut off: 2 bytes wanted, 0 left"},
      {hvm_record(1, 0, Bytes(24)), "typecode of an HVM record is cut off: 2 bytes wanted, 0 left"},
      {ByteWriter().le16(1).le16(0).le32(9).bytes(),
       "HVM record is cut off: 9 bytes wanted, 0 left"},
      {twice, "CPU record of vCPU 0 comes twice"},
  };
  for (const auto& [context, text] : cases) {
    CAPTURE(text);
    CHECK(with(context, false).error.ends_with(": " + text));
    const ReadResult result = with(context, true);
    REQUIRE(result.error == "");
    CHECK(result.has_loss(text + "; all registers are lost"));
    CHECK(result.image->vcpus.empty());
  }
  XenStream none;
  none.libxc(2).pages({page(0, 0)});
  CHECK(read_bytes(none.end(false).bytes()).has_warning("no registers: the stream holds none"));
}

TEST_CASE("xen save: salvage of a stream that is cut off keeps the pages that are there") {
  XenStream stream;
  stream.libxl().libxc(1).pv_info().pages({page(0, 10), page(1, 1)});
  stream.pages({page(0, 0), page(2, 2), page(3, 3)});
  const Bytes bytes(stream.bytes().begin(), stream.bytes().end() - 4196);
  CHECK(read_bytes(bytes).error.find("record of type 0x1 is cut off: ") != std::string::npos);
  const ReadResult result = read_bytes(bytes, {.salvage = true});
  REQUIRE(result.error == "");
  CHECK(result.image->runs.extents() == std::vector{guest_range(0, 0x2000)});
  CHECK(is_page(*result.image, 0, 0));
  CHECK(result.has_loss("; what follows is lost, and pages may be of different moments"));
}

}  // namespace
}  // namespace vmconvert::test
