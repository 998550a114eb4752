#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "support/byte_writer.h"

namespace vmconvert::test {

/// A mapping of a process.
struct CoreMapping {
  std::uint64_t address = 0;
  Bytes bytes;
  bool writable = true;
  bool stored = true;             ///< false: the core has the mapping, but not its content
  std::string file = {};          ///< path, of a mapped file
  std::uint64_t file_offset = 0;  ///< bytes
  std::uint64_t physical = 0;     ///< p_paddr
};

/// A core of a process, as Linux writes it: mappings that can be written to by address.
class ProcessCore {
 public:
  bool big_endian = false;
  bool is_64 = true;
  unsigned machine = 62;
  unsigned type = 4;
  std::string command = "/usr/bin/qemu-system-x86_64 -m 1";
  bool file_note = true;
  std::uint64_t more_files = 0;  ///< than there are, that the note of files claims
  std::uint64_t entry = 0;       ///< AT_ENTRY; 0: none
  std::vector<CoreMapping> mappings;

  void u8(std::uint64_t at, unsigned value) { put(at, value, 1); }
  void u16(std::uint64_t at, unsigned value) { put(at, value, 2); }
  void u32(std::uint64_t at, std::uint64_t value) { put(at, value, 4); }
  void u64(std::uint64_t at, std::uint64_t value) { put(at, value, 8); }
  /// An integer of 128 bits.
  void u128(std::uint64_t at, std::uint64_t low, std::uint64_t high = 0);
  void text(std::uint64_t at, std::string_view value);
  void copy(std::uint64_t at, const Bytes& bytes);
  CoreMapping& mapping_at(std::uint64_t address);

  Bytes bytes() const;

 private:
  void put(std::uint64_t at, std::uint64_t value, unsigned size);
  Bytes notes() const;
};

/// A RAMBlock with its MemoryRegion, and the object that owns that.
struct SampleBlock {
  std::string name = "pc.ram";
  std::uint64_t host = 0x7f0000000000;
  std::uint64_t size = 8 * 4096;
  bool readonly = false, device = false, nonvolatile = false;
  bool backend = true;  ///< the owner is a memory backend
  bool dump = true;
};

/// A FlatRange.
struct SampleRange {
  static constexpr std::size_t kIo = ~std::size_t{0};
  std::uint64_t start = 0, size = 0;
  std::size_t block = 0;  ///< kIo: no RAM
  std::uint64_t offset = 0;
};

/// A QEMU 7.0 or later, on a 64-bit host.
struct SampleProcess {
  std::vector<SampleBlock> blocks{SampleBlock{}};
  std::vector<SampleRange> ranges{{0, 8 * 4096, 0, 0}, {0xfec00000, 4096, SampleRange::kIo, 0}};
  bool older = false;         ///< as QEMU 4.0 to 6.2
  std::uint64_t note_at = 0;  ///< guest address of a VMCOREINFO note; 0: none was announced
  std::string executable = "/usr/bin/qemu-system-x86_64";

  // Where build() puts things.
  std::uint64_t address_space = 0, name = 0, view = 0, first_range = 0, vmcoreinfo = 0;
  std::vector<std::uint64_t> block_at, region_at, owner_at;

  /// Pages of block b are page_of(100 * b + number).
  ProcessCore build(bool big_endian = false);

 private:
  std::uint64_t allocate(std::uint64_t size);
  std::uint64_t object(ProcessCore& core, std::string_view type, std::uint64_t parent,
                       std::uint64_t size);
  void add_block(ProcessCore& core, std::size_t number);
  std::uint64_t heap_ = 0;
  std::uint64_t device_ = 0;  ///< the object that owns I/O regions
};

}  // namespace vmconvert::test
