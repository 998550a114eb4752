#include "vmconvert/kernel/vmlinux.h"

#include "support/byte_writer.h"
#include "support/collecting_diagnostics.h"
#include "support/kernel_memory.h"
#include "support/scratch_folder.h"
#include "support/test.h"
#include "vmconvert/kernel/find_kernel.h"

namespace vmconvert::test {
namespace {

constexpr std::uint64_t kRodata = 0xffffffff81c00000;

struct Symbol {
  std::string name;
  std::uint64_t value;
};

/// An ELF file with .rodata, .symtab and .strtab.
struct KernelFile {
  std::string rodata = "....Linux version 5.1 (me) #1\n";
  bool has_content = true;  ///< .rodata is PROGBITS
  bool has_symbols = true;
  std::uint64_t rodata_address = kRodata;
  std::vector<Symbol> symbols = {{"_text", 0xffffffff81000000}, {"linux_banner", kRodata + 4}};

  Bytes bytes() const {
    ByteWriter names, table;
    names.u8(0);
    table.fill(24);
    for (const Symbol& symbol : symbols) {
      table.le32(names.size()).u8(0x11).u8(0).le16(1).le64(symbol.value).le64(8);
      names.text(symbol.name).u8(0);
    }
    const std::uint64_t rodata_at = 64, table_at = rodata_at + rodata.size(),
                        names_at = table_at + table.size(), sections_at = names_at + names.size();
    ByteWriter file;
    file.append(from_hex("7f 45 4c 46 02 01 01 00 00 00 00 00 00 00 00 00"))
        .le16(2)
        .le16(62)
        .le32(1)
        .le64(0)
        .le64(0)
        .le64(sections_at)
        .le32(0)
        .le16(64)
        .le16(56)
        .le16(0)
        .le16(64)
        .le16(4)
        .le16(0);
    file.text(rodata).append(table.bytes()).append(names.bytes());
    const auto section = [&](unsigned type, unsigned flags, std::uint64_t address, std::uint64_t at,
                             std::uint64_t size, unsigned link, unsigned entry) {
      file.le32(0)
          .le32(type)
          .le64(flags)
          .le64(address)
          .le64(at)
          .le64(size)
          .le32(link)
          .le32(0)
          .le64(1)
          .le64(entry);
    };
    section(0, 0, 0, 0, 0, 0, 0);
    section(has_content ? 1 : 8, 2, rodata_address, rodata_at, rodata.size(), 0, 0);
    section(has_symbols ? 2 : 1, 0, 0, table_at, table.size(), 3, 24);
    section(3, 0, 0, names_at, names.size(), 0, 0);
    return file.bytes();
  }
};

class Vmlinuxes {
 public:
  Vmlinux read(const Bytes& bytes) {
    const std::string path = folder_.path("vmlinux");
    write_file(path, bytes);
    return read_vmlinux(path);
  }
  std::string message(const Bytes& bytes) {
    try {
      read(bytes);
    } catch (const Error& error) {
      const std::string text = error.what();
      return text.substr(text.find(": ") + 2);
    }
    return "no error";
  }

 private:
  ScratchFolder folder_;
};

TEST_CASE("vmlinux: banner and symbols") {
  Vmlinuxes files;
  const Vmlinux found = files.read(KernelFile{}.bytes());
  CHECK(found.machine == 62);
  CHECK(found.banner == "Linux version 5.1 (me) #1");
  CHECK(found.symbols.at("_text") == 0xffffffff81000000);
  CHECK(found.symbols.size() == 2);
}

TEST_CASE("vmlinux: a debug file without content has symbols alone") {
  Vmlinuxes files;
  const Vmlinux found = files.read(KernelFile{.has_content = false}.bytes());
  CHECK(found.banner.empty());
  CHECK(found.symbols.at("linux_banner") == kRodata + 4);
}

TEST_CASE("vmlinux: what is no kernel with symbols is refused by name") {
  Vmlinuxes files;
  CHECK(files.message(from_hex("00 01 02 03")) == "is no ELF file");
  CHECK(files.message(KernelFile{.has_symbols = false}.bytes()) ==
        "has no symbol table; the kernel's debug image has one");
  CHECK(files.message(KernelFile{.symbols = {{"main", 1}}}.bytes()) ==
        "has no symbol linux_banner: it is not a Linux kernel");
  CHECK_THROWS_AS(read_vmlinux("/nowhere/vmlinux"), Error);
}

TEST_CASE("vmlinux: it has to be the guest's own kernel") {
  ScratchFolder folder;
  const std::string path = folder.path("vmlinux");
  CollectingDiagnostics diagnostics;
  const auto find = [&](const KernelFile& file, GuestImage image) {
    write_file(path, file.bytes());
    find_kernel(image, {.vmcoreinfo = {}, .vmlinux = path, .scan = Scan::none}, diagnostics);
    return image.vmcoreinfo;
  };
  // In KernelMemory the banner lies 0x30010 behind the image's begin.
  const KernelMemory memory({.banner = "Linux version 5.1 (me) #1\n"});
  KernelFile own{.rodata_address = 0xffffffff8103000c};
  own.symbols = {{"_stext", 0xffffffff81000000}, {"linux_banner", 0xffffffff81030010}};
  const auto made = find(own, memory.image({memory.root()}));
  REQUIRE(made.has_value());
  CHECK(made->value("OSRELEASE") == "5.1");
  CHECK(made->hex_value("KERNELOFFSET") == 0xc400000);
  CHECK(made->symbol("_stext") == 0xffffffff8d400000);
  own.has_content = false;
  CHECK(find(own, memory.image({memory.root()}))->text == made->text);

  KernelFile other = own;
  other.has_content = true;
  other.rodata = "....Linux version 5.2 (me) #1\n";
  const std::string message = path +
                              ": is of another kernel: it says \"Linux version 5.2 (me) #1\", "
                              "the guest runs \"Linux version 5.1 (me) #1\"";
  CHECK_THROWS_WITH_AS(find(other, memory.image({memory.root()})), message.c_str(), Error);
  CHECK(diagnostics.of(Diagnostics::Level::warning).empty());
  CHECK_FALSE(find(own, KernelMemory({.banner = ""}).image({})));
  CHECK(diagnostics.of(Diagnostics::Level::warning).size() == 1);
}

TEST_CASE(
    "vmlinux: a file that ends early, or has a damaged byte, is an error or reads as something") {
  Vmlinuxes files;
  const Bytes whole = KernelFile{}.bytes();
  for (std::size_t size = 0; size < whole.size(); ++size)
    files.message({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)});
  for (std::size_t at = 0; at < whole.size(); ++at) {
    Bytes damaged = whole;
    damaged[at] ^= std::byte{0xff};
    files.message(damaged);
  }
}

}  // namespace
}  // namespace vmconvert::test
