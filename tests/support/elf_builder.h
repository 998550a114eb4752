#pragma once

#include <optional>
#include <string>
#include <vector>

#include "support/byte_writer.h"

namespace vmconvert::test {

/// An integer of 1 to 8 bytes in either byte order.
void put(Bytes& to, std::uint64_t value, unsigned size, bool big);

/// One note, padded to 4 bytes; its name gets a NUL.
Bytes elf_note(std::string_view name, std::uint32_t type, std::span<const std::byte> desc,
               bool big = false);

/// A PT_LOAD of an ELF dump.
struct ElfLoad {
  std::uint64_t paddr = 0;
  Bytes content;  ///< written behind that of the loads before it
  std::uint64_t vaddr = 0;
  std::optional<std::uint64_t> offset{};  ///< instead of where the content is
  std::optional<std::uint64_t> filesz{}, memsz{};
};

/// An ELF core file: header, program headers, notes, memory, one behind the other.
struct ElfDump {
  bool is_64 = true, big = false;
  unsigned type = 4, machine = 62;
  unsigned ehsize = 8;  ///< as QEMU 7.2 and later have it
  bool many = false;    ///< e_phnum is 0xffff, the number is in section 0
  Bytes notes{};
  std::vector<ElfLoad> loads{};
  std::optional<unsigned> phentsize{}, phnum{};

  Bytes bytes() const;
  /// Where the notes and the content of the loads begin.
  std::uint64_t notes_at() const;
  std::uint64_t content_at() const { return notes_at() + notes.size(); }
};

}  // namespace vmconvert::test
