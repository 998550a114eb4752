#include "vmconvert/kernel/vmlinux.h"

#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <string_view>

#include "vmconvert/base/error.h"
#include "vmconvert/io/unique_fd.h"
#include "vmconvert/kernel/given_back.h"

namespace vmconvert {
namespace {

using namespace std::string_view_literals;

constexpr std::array kWantedSymbols{"_text"sv,          "_stext"sv,       "_end"sv,
                                    "linux_banner"sv,   "init_top_pgt"sv, "init_level4_pgt"sv,
                                    "swapper_pg_dir"sv, "init_uts_ns"sv,  "init_task"sv};
constexpr std::size_t kLongestBanner = 1024;

struct ElfCloser {
  void operator()(Elf* elf) const { elf_end(elf); }
};

class Reader {
 public:
  explicit Reader(const std::string& path) : path_(path) {
    elf_version(EV_CURRENT);
    fd_ = UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd_) throw io_error(path, std::nullopt, "open", errno);
    elf_.reset(elf_begin(fd_.get(), ELF_C_READ_MMAP, nullptr));
    if (!elf_ || elf_kind(elf_.get()) != ELF_K_ELF) refuse("is no ELF file");
  }

  Vmlinux read() {
    GElf_Ehdr ehdr;
    if (gelf_getehdr(elf_.get(), &ehdr) == nullptr) refuse("has a damaged ELF header");
    Vmlinux result{.file = path_, .machine = ehdr.e_machine};
    Elf_Scn* table = find_symbol_table();
    if (table == nullptr) {
      throw Error(ErrorKind::unsupported, path_, std::nullopt,
                  "has no symbol table; the kernel's debug image has one");
    }
    read_symbols(table, result);
    const auto banner = result.symbols.find("linux_banner"sv);
    if (banner == result.symbols.end()) {
      throw Error(ErrorKind::unsupported, path_, std::nullopt,
                  "has no symbol linux_banner: it is not a Linux kernel");
    }
    result.banner = read_banner(banner->second);
    return result;
  }

 private:
  [[noreturn]] void refuse(std::string_view why) const {
    throw Error(ErrorKind::corrupt, path_, std::nullopt, why);
  }

  Elf_Scn* find_symbol_table() const {
    for (Elf_Scn* scn = nullptr; (scn = elf_nextscn(elf_.get(), scn)) != nullptr;) {
      GElf_Shdr shdr;
      if (gelf_getshdr(scn, &shdr) != nullptr && shdr.sh_type == SHT_SYMTAB) return scn;
    }
    return nullptr;
  }

  void read_symbols(Elf_Scn* table, Vmlinux& result) const {
    GElf_Shdr shdr;
    Elf_Data* data = elf_getdata(table, nullptr);
    if (data == nullptr || gelf_getshdr(table, &shdr) == nullptr || shdr.sh_entsize == 0)
      refuse("has a damaged symbol table");
    std::vector<std::string_view> wanted = symbols_of(kX86GivenBack);
    wanted.insert(wanted.end(), kWantedSymbols.begin(), kWantedSymbols.end());
    const auto count = std::min<std::uint64_t>(shdr.sh_size / shdr.sh_entsize, INT32_MAX);
    for (int i = 0; i < static_cast<int>(count); ++i) {
      GElf_Sym symbol;
      if (gelf_getsym(data, i, &symbol) == nullptr) refuse("has a damaged symbol table");
      const char* name = elf_strptr(elf_.get(), shdr.sh_link, symbol.st_name);
      if (name == nullptr) continue;
      if (std::find(wanted.begin(), wanted.end(), name) != wanted.end())
        result.symbols.emplace(name, symbol.st_value);
    }
  }

  /// The text at a virtual address; a debug image keeps no content (NOBITS): "" then.
  std::string read_banner(std::uint64_t at) const {
    for (Elf_Scn* scn = nullptr; (scn = elf_nextscn(elf_.get(), scn)) != nullptr;) {
      GElf_Shdr shdr;
      if (gelf_getshdr(scn, &shdr) == nullptr || shdr.sh_type == SHT_NOBITS ||
          (shdr.sh_flags & SHF_ALLOC) == 0 || at < shdr.sh_addr ||
          at - shdr.sh_addr >= shdr.sh_size)
        continue;
      const Elf_Data* data = elf_rawdata(scn, nullptr);
      const std::uint64_t offset = at - shdr.sh_addr;
      if (data == nullptr || offset >= data->d_size) return "";
      const std::string_view text(static_cast<const char*>(data->d_buf) + offset,
                                  std::min<std::size_t>(data->d_size - offset, kLongestBanner));
      return std::string(text.substr(0, text.find_first_of("\n\0"sv)));
    }
    return "";
  }

  std::string path_;
  UniqueFd fd_;
  std::unique_ptr<Elf, ElfCloser> elf_;
};

}  // namespace

Vmlinux read_vmlinux(const std::string& path) { return Reader(path).read(); }

}  // namespace vmconvert
