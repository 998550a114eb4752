#include "qemu_core/executable_symbols.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <LIEF/ELF.hpp>
#include <LIEF/logging.hpp>
#include <cerrno>
#include <memory>

#include "vmconvert/base/text.h"
#include "vmconvert/io/byte_source.h"
#include "vmconvert/io/elf_file.h"

namespace vmconvert::qemu_core {
namespace {

// LIEF reads all of it into memory; QEMU has some 30 MiB, 200 with debug information.
constexpr std::uint64_t kLargestExecutable = std::uint64_t{1} << 30;
constexpr std::uint32_t kNtGnuBuildId = 3;

std::unique_ptr<LIEF::ELF::Binary> parse(const std::string& path) {
  LIEF::Logger::disable();  // it prints
  try {
    auto binary = LIEF::ELF::Parser::parse(path);
    if (binary) return binary;
  } catch (const LIEF::exception&) {
    // refused below: its text names no file
  }
  throw Error(ErrorKind::unsupported, path, std::nullopt, "is no executable that LIEF can read");
}

}  // namespace

ProgramFacts read_symbols(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd) throw io_error(path, std::nullopt, "open", errno);
  const FileSource source(std::move(fd), path);
  if (source.size() > kLargestExecutable) {
    throw Error(ErrorKind::unsupported, path, std::nullopt,
                "is " + human_size(source.size()) + ", too large for an executable");
  }
  const ElfFile elf(source);  // its own checks come before LIEF's
  ProgramFacts facts{.origin = "symbols of " + printable(path)};
  const auto binary = parse(path);
  facts.entry = binary->header().entrypoint();
  for (const ElfNote& note : elf.notes(source)) {
    if (note.name == "GNU" && note.type == kNtGnuBuildId && note.desc.size() <= 64) {
      std::string id(static_cast<std::size_t>(note.desc.size()), '\0');
      source.read_at(note.desc.begin(), std::as_writable_bytes(std::span(id)));
      facts.build_id = id;
    }
  }
  for (const LIEF::ELF::Symbol& symbol : binary->symbols()) {
    if (symbol.value() == 0) continue;
    const std::string& name = symbol.name();
    if (name == "address_space_memory") facts.address_space_memory = symbol.value();
  }
  if (!facts.address_space_memory) {
    throw Error(ErrorKind::unsupported, path, std::nullopt,
                "has no symbol address_space_memory; it is not QEMU, or has lost its symbols");
  }
  return facts;
}

}  // namespace vmconvert::qemu_core
