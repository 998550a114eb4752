#include "all_formats.h"
#include "support/libvirt_builder.h"
#include "support/pc_stream.h"
#include "support/reading.h"
#include "support/test.h"
#include "support/xen_builder.h"
#include "vmconvert/convert/choose_format.h"

namespace vmconvert::test {
namespace {

std::string format_of(Bytes bytes) {
  const MemorySource source("input", std::move(bytes));
  return error_of([&] {
    const Format& format = choose_format(all_formats(), "", source);
    throw Error(ErrorKind::usage, "", std::nullopt, format.name);
  });
}

constexpr const char* kUnknown =
    "input: is in none of the known formats (tried: qevm, libvirt-save, qcow2, elf, "
    "qemu-core, kdump, lime, vmware, vmware-vmem, vmware-panic, xen-core, xen-save; what cannot be told by content: --from raw)";

TEST_CASE("probe: each format knows its own") {
  CHECK(format_of(small_pc().eos().bytes()) == "qevm");
  LibvirtSave save{.stream = small_pc().eos().bytes()};
  CHECK(format_of(save.bytes()) == "libvirt-save");
  save.magic = "LibvirtQemudPart";
  CHECK(format_of(save.bytes()) == "libvirt-save");
  CHECK(format_of(XenCore{}.bytes()) == "xen-core");
  CHECK(format_of(XenOldCore{.pages = {{0, Bytes(4096)}}}.bytes()) == "xen-core");
  CHECK(format_of(xl_file("{}", {})) == "xen-save");
  CHECK(format_of(XenStream().libxl().bytes()) == "xen-save");
  CHECK(format_of(XenStream().libxc(1).bytes()) == "xen-save");
}

TEST_CASE("probe: a stream in the first 64 KiB is found and one behind is not") {
  const Bytes stream = small_pc().eos().bytes();
  CHECK(format_of(ByteWriter().fill(4096).append(stream).bytes()) == "qevm");
  CHECK(format_of(ByteWriter().fill(65536 - 9).append(stream).bytes()) == "qevm");
  CHECK(format_of(ByteWriter().fill(65536 - 8).append(stream).bytes()) == kUnknown);
}

TEST_CASE("probe: beginnings of a magic number are none") {
  CHECK(format_of(from_hex("51 45 56")) == kUnknown);
  CHECK(format_of(from_hex("51 45 56 4d")) == "qevm");
  CHECK(format_of(ByteWriter().text("LibvirtQemudSav").bytes()) == kUnknown);
  CHECK(format_of(ByteWriter().text("LibvirtQemudXave").bytes()) == kUnknown);
  CHECK(format_of(Bytes(100'000)) == kUnknown);
}

TEST_CASE("probe: a broken stream is refused by its own format") {
  CHECK(read_bytes(from_hex("51 45 56 4d")).error ==
        "input: offset 0x4: version is cut off: 4 bytes wanted, 0 left");
  CHECK(read_bytes(ByteWriter().text("LibvirtQemudSave").bytes()).error ==
        "input: offset 0x10: the libvirt save header is cut off");
}

TEST_CASE("probe: a format that was asked for says what it misses") {
  const auto source = std::make_shared<MemorySource>("input", Bytes(100));
  CollectingDiagnostics diagnostics;
  const Input input(source, false);
  const auto read_as = [&](std::string_view name) {
    return error_of(
        [&] { choose_format(all_formats(), name, *source).read(input, {}, diagnostics); });
  };
  CHECK(read_as("qevm") == "input: offset 0x0: magic is not \"QEVM\"");
  CHECK(read_as("libvirt-save") == "input: offset 0x0: magic is not that of a libvirt save image");
  CHECK(read_as("vmss") ==
        "unknown input format \"vmss\" (there are: qevm, libvirt-save, qcow2, elf, qemu-core, kdump, "
        "lime, vmware, vmware-vmem, vmware-panic, xen-core, xen-save, raw)");
}

}  // namespace
}  // namespace vmconvert::test
