#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vmconvert/base/address.h"
#include "vmconvert/io/elf_file.h"

namespace vmconvert::qemu_core {

/// Bytes in the address space of the process that left the core.
using ProcessAddr = Address<struct ProcessTag>;
using ProcessRange = Range<ProcessAddr>;

/// A mapping of the process: a PT_LOAD of its core.
struct Mapping {
  ProcessRange range;
  FileOffset at;             ///< of its first byte in the core
  std::uint64_t filesz = 0;  ///< bytes that the core claims to hold, from the beginning on
  std::uint64_t stored = 0;  ///< bytes that it does hold: less if the core is cut off
  bool writable = false;
};

/// A part of a range of the process.
struct MappedPart {
  ProcessRange range;
  const Mapping* mapping = nullptr;  ///< nullptr: the core has no mapping here
  bool stored = false;               ///< the core holds the bytes, at `at`
  FileOffset at;
};

/// The address space of a process, as its core holds it. Small reads are cached: structures are
/// read field by field. Not for more than one thread.
class ProcessMemory {
 public:
  /// @throws Error(corrupt) if PT_LOADs overlap or wrap
  ProcessMemory(const ByteSource& source, const ElfFile& elf);

  std::endian order() const { return order_; }
  const ByteSource& source() const { return *source_; }
  /// Sorted, disjoint.
  const std::vector<Mapping>& mappings() const { return mappings_; }
  /// True if the core ends before its mappings do.
  bool cut_off() const { return cut_off_; }

  /// False, with `out` in any state, if a byte of it is not stored in the core.
  bool read(ProcessAddr at, std::span<std::byte> out);
  /// The integer at `base` + `offset`; nothing if it is not stored.
  template <std::unsigned_integral T>
  std::optional<T> load_at(ProcessAddr base, std::uint64_t offset) {
    std::array<std::byte, sizeof(T)> bytes{};
    const auto field = ProcessRange::try_sized(base, offset);
    if (!field || !read(field->end(), bytes)) return std::nullopt;
    return load<T>(bytes, order_);
  }
  std::optional<ProcessAddr> pointer_at(ProcessAddr base, std::uint64_t offset) {
    const auto value = load_at<std::uint64_t>(base, offset);
    return value ? std::optional(ProcessAddr{*value}) : std::nullopt;
  }
  /// The text at `at` up to its NUL; nothing if that is not among the first `most` bytes.
  std::optional<std::string> text(ProcessAddr at, std::size_t most);

  /// What the core has of `range`, in order and without gaps.
  std::vector<MappedPart> parts(ProcessRange range) const;

 private:
  static constexpr std::size_t kPage = 4096, kSlots = 256;
  struct Slot {
    std::optional<std::uint64_t> page;  ///< number of the page of the core
    std::vector<std::byte> bytes;
  };
  /// The first mapping that ends after `at`.
  std::vector<Mapping>::const_iterator first_after(ProcessAddr at) const;
  void read_cached(FileOffset at, std::span<std::byte> out);

  const ByteSource* source_;
  std::endian order_;
  std::vector<Mapping> mappings_;
  bool cut_off_ = false;
  std::vector<Slot> slots_;
};

}  // namespace vmconvert::qemu_core
