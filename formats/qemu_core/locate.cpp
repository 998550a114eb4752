#include "qemu_core/locate.h"

#include <unistd.h>

#include <algorithm>

#include "qemu_core/debug_info.h"
#include "qemu_core/executable_symbols.h"
#include "qemu_core/structure_search.h"
#include "vmconvert/base/packed.h"
#include "vmconvert/base/text.h"

namespace vmconvert::qemu_core {
namespace {

constexpr std::size_t kHead = 4096;
constexpr std::uint32_t kNtGnuBuildId = 3;
constexpr std::uint64_t kHostPage = 4096;

std::string hex_digits(const std::string& bytes) {
  std::string text = debug_file_path("", bytes).substr(std::string_view("/.build-id/").size());
  text.erase(2, 1);
  return text.substr(0, text.size() - std::string_view(".debug").size());
}

/// The build id in the first page of an ELF file that is mapped at `base`; the kernel and gdb keep
/// that page in the core.
std::optional<std::string> build_id_at(ProcessMemory& memory, ProcessAddr base) {
  std::vector<std::byte> head(kHead);
  if (!memory.read(base, head)) return std::nullopt;
  const auto header = peek_elf_header(head);
  if (!header) return std::nullopt;
  for (const ElfSegment& segment : peek_elf_segments(head, *header)) {
    if (segment.p_type != elf::kNote || segment.p_offset > kHead) continue;
    auto bytes =
        std::span<const std::byte>(head).subspan(static_cast<std::size_t>(segment.p_offset),
                                                 static_cast<std::size_t>(std::min<std::uint64_t>(
                                                     segment.p_filesz, kHead - segment.p_offset)));
    while (bytes.size() >= 16) {
      const auto word = [&](std::size_t at) {
        return load<std::uint32_t>(bytes.subspan(at), header->order);
      };
      const std::uint64_t name_end = align_up(12 + std::uint64_t{word(0)}, 4);
      const std::uint64_t end = align_up(name_end + word(4), 4);
      if (end > bytes.size()) break;
      if (word(8) == kNtGnuBuildId && word(0) == 4) {
        return std::string(reinterpret_cast<const char*>(bytes.data()) + name_end, word(4));
      }
      bytes = bytes.subspan(static_cast<std::size_t>(end));
    }
  }
  return std::nullopt;
}

class Locator {
 public:
  Locator(ProcessMemory& memory, const ProcessNotes& notes, const ReadOptions& options,
          Diagnostics& diagnostics)
      : memory_(memory), notes_(notes), options_(options), diagnostics_(diagnostics) {
    if (const MappedFile* qemu = notes.qemu()) build_id_ = build_id_at(memory, qemu->range.begin());
  }

  Located locate() {
    if (!options_.debug_file.empty())
      return with_facts(read_debug_info(options_.debug_file, options_.debug_root));
    if (!options_.executable.empty()) return with_facts(read_symbols(options_.executable));
    if (const auto path = installed_debug_file()) {
      // Nobody asked for this file: if it does not help, the search may.
      try {
        return with_facts(read_debug_info(*path, options_.debug_root));
      } catch (const Error& error) {
        diagnostics_.decision(memory_.source().name(), "not used: " + std::string(error.what()));
      }
    }
    const FoundMap found = search_address_space(memory_);
    return located(found, "a search of the process", std::nullopt);
  }

 private:
  std::optional<std::string> installed_debug_file() const {
    if (options_.debug_root.empty() || !build_id_ || build_id_->size() < 2) return std::nullopt;
    const std::string path = debug_file_path(options_.debug_root, *build_id_);
    if (::access(path.c_str(), R_OK) != 0) return std::nullopt;
    return path;
  }

  /// Where the program may have been loaded to. That is where the kernel says, unless the program
  /// was started by its ld.so; and at the beginning of a mapped file.
  std::vector<std::uint64_t> bases(const ProgramFacts& facts) const {
    std::vector<std::uint64_t> bases;
    if (notes_.entry && notes_.entry->value >= facts.entry) {
      const std::uint64_t base = notes_.entry->value - facts.entry;
      if (base % kHostPage == 0) bases.push_back(base);
    }
    for (const MappedFile& file : notes_.files) {
      if (file.offset == 0) bases.push_back(file.range.begin().value);
    }
    bases.push_back(0);  // not position-independent
    return bases;
  }

  Located with_facts(const ProgramFacts& facts) {
    if (facts.build_id && build_id_ && facts.build_id != build_id_) {
      throw Error(ErrorKind::usage, memory_.source().name(), std::nullopt,
                  facts.origin + ": build ID " + hex_digits(*facts.build_id) +
                      ", but QEMU in the core has " + hex_digits(*build_id_));
    }
    const auto layouts =
        facts.layout ? std::span<const Layout>(&*facts.layout, 1) : known_layouts();
    std::string reason = "there is no such address in the core";
    Budget budget;
    for (const std::uint64_t base : bases(facts)) {
      const auto at = ProcessRange::try_sized({base}, *facts.address_space_memory);
      if (!at) continue;
      const auto found = try_address_space(memory_, layouts, at->end(), budget, reason);
      if (!found) continue;
      return located(*found, facts.origin, device(facts, base));
    }
    throw Error(ErrorKind::unsupported, memory_.source().name(), std::nullopt,
                facts.origin + ": does not fit the process: " + reason);
  }

  std::optional<ProcessAddr> device(const ProgramFacts& facts, std::uint64_t base) {
    if (!facts.layout || !facts.vmcoreinfo_state) return std::nullopt;
    const auto at = ProcessRange::try_sized({base}, *facts.vmcoreinfo_state);
    return at ? memory_.pointer_at(at->end(), 0) : std::nullopt;
  }

  Located located(const FoundMap& found, const std::string& origin,
                  std::optional<ProcessAddr> vmcoreinfo_state) {
    diagnostics_.decision(memory_.source().name(), "the guest's memory map is at " +
                                                       hex(found.map.address_space.value) +
                                                       " of the process (from " + origin + ", by " +
                                                       found.layout->name + ")");
    return {found.map, *found.layout, vmcoreinfo_state};
  }

  ProcessMemory& memory_;
  const ProcessNotes& notes_;
  const ReadOptions& options_;
  Diagnostics& diagnostics_;
  std::optional<std::string> build_id_;  ///< of QEMU in the core
};

}  // namespace

Located locate_map(ProcessMemory& memory, const ProcessNotes& notes, const ReadOptions& options,
                   Diagnostics& diagnostics) {
  return Locator(memory, notes, options, diagnostics).locate();
}

}  // namespace vmconvert::qemu_core
