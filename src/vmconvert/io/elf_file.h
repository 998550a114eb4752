#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vmconvert/io/cursor.h"

namespace vmconvert {

/// What an ELF header says, of either class and byte order. Truth: System V ABI, chapter 4.
struct ElfHeader {
  bool is_64 = true;
  std::endian order = std::endian::little;
  std::uint16_t e_type = 0, e_machine = 0;
  std::uint32_t e_flags = 0;
  std::uint64_t e_phoff = 0, e_shoff = 0;
  std::uint16_t e_phentsize = 0,
                e_phnum = 0;  ///< of e_phnum the raw value: 0xffff may stand for more
  std::uint16_t e_shentsize = 0, e_shnum = 0, e_shstrndx = 0;
};

/// A program header, as found: nothing is checked against the file.
struct ElfSegment {
  std::uint32_t p_type = 0, p_flags = 0;
  std::uint64_t p_offset = 0, p_vaddr = 0, p_paddr = 0, p_filesz = 0, p_memsz = 0, p_align = 0;
};

/// A note of a PT_NOTE segment.
struct ElfNote {
  std::string name;  ///< without the NUL that ends it
  std::uint32_t type = 0;
  FileRange desc;
};

namespace elf {
inline constexpr std::uint16_t kTypeRelocatable = 1, kTypeExecutable = 2, kTypeShared = 3,
                               kTypeCore = 4;
inline constexpr std::uint32_t kLoad = 1, kNote = 4;
inline constexpr std::uint16_t kMachine386 = 3, kMachinePpc64 = 21, kMachineS390 = 22,
                               kMachineX86_64 = 62, kMachineAarch64 = 183, kMachineRiscv = 243;
/// So many bytes of notes are believed: 512 vCPUs of aarch64 with 2048-bit SVE have 9 MiB.
inline constexpr std::uint64_t kLargestNotes = std::uint64_t{64} << 20;
}  // namespace elf

/// The header, if `head` begins with one of a class, byte order and version that there are.
std::optional<ElfHeader> peek_elf_header(std::span<const std::byte> head);

/// For probes: the program headers that lie wholly within `head`, in order.
std::vector<ElfSegment> peek_elf_segments(std::span<const std::byte> head, const ElfHeader& header);

/// The notes that lie one after the other in `range`, in order. Padding is 4 bytes, as in every
/// Linux core; zeros in place of a note are skipped.
/// @throws Error(corrupt) if a note leaves the range or the range leaves the source,
///         Error(unsupported) if `range` is larger than `most`
std::vector<ElfNote> read_elf_notes(const ByteSource& source, FileRange range, std::endian order,
                                    std::uint64_t most = elf::kLargestNotes);

/// An ELF file's header and program headers. Holds no reference to the source.
class ElfFile {
 public:
  /// Reads header and program headers, more than 65,534 of them (PN_XNUM) too.
  /// @throws Error(corrupt) if `source` is no ELF file, or its program headers leave it
  explicit ElfFile(const ByteSource& source);

  const ElfHeader& header() const { return header_; }
  const std::vector<ElfSegment>& segments() const { return segments_; }

  /// The notes of every PT_NOTE segment, in order, whatever p_align says.
  /// @throws as read_elf_notes()
  std::vector<ElfNote> notes(const ByteSource& source) const;

 private:
  std::uint64_t read_phnum(const ByteSource& source) const;

  ElfHeader header_;
  std::vector<ElfSegment> segments_;
};

}  // namespace vmconvert
