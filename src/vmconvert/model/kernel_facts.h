#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vmconvert/base/address.h"

namespace vmconvert {

/// The kernel's VMCOREINFO. A fact about the guest comes with where it came from: whoever reads a
/// vmcore must be able to tell knowledge from a guess.
struct Vmcoreinfo {
  std::string text;    ///< "KEY=VALUE" lines, as the guest holds them
  std::string origin;  ///< for people: "device state, guest address 0x1234000"

  /// The value of the line "KEY=...", nothing if there is none.
  std::optional<std::string_view> value(std::string_view key) const;
  /// That of "SYMBOL(name)=" and KERNELOFFSET: hexadecimal without prefix.
  std::optional<std::uint64_t> hex_value(std::string_view key) const;
  /// That of "NUMBER(name)=": decimal, possibly negative, or hexadecimal with 0x.
  std::optional<std::int64_t> number(std::string_view name) const;
  std::optional<std::uint64_t> symbol(std::string_view name) const;
};

template <class T>
struct Derived {
  T value{};
  std::string origin;  ///< for people
};

/// Guest memory at a kernel virtual address.
struct KernelMapping {
  GuestRange guest;
  GuestVirtAddr at;  ///< of guest.begin()
};

/// What is known of the guest's Linux kernel; empty where nothing could be told with certainty.
struct KernelFacts {
  std::string banner;   ///< "Linux version 6.1.0 (...) ...", one line; empty if not found
  std::string release;  ///< as uname -r has it
  std::optional<Derived<std::int64_t>>
      phys_base;  ///< x86-64: gpa = gva - 0xffffffff80000000 + this
  std::optional<Derived<std::uint64_t>> kaslr_offset;  ///< how far the kernel image was moved
  std::optional<Derived<std::uint64_t>> page_offset;   ///< gva of gpa 0 in the direct map
  /// Where the direct map ends in guest memory; nothing: nowhere. That of i386 holds low memory
  /// alone.
  std::optional<GuestPhysAddr> direct_map_end;
  std::optional<Derived<GuestPhysAddr>> page_tables;  ///< of the kernel: root
  /// The kernel image at its own addresses, not those of the direct map: ascending, all equally far
  /// from their gpa. Between them is what the kernel does not map (any more), or has given to its
  /// page allocator, such as its initialisation code. Empty if it has no addresses of its own.
  std::vector<KernelMapping> image;
};

}  // namespace vmconvert
