#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "vmconvert/kernel/vmlinux.h"

namespace vmconvert {

/// The lines of a VMCOREINFO that the guest does not have, made from what is known of its kernel.
class SynthesisedVmcoreinfo {
 public:
  /// @param offset  of the guest's symbols from those of `vmlinux`, which must outlive this
  SynthesisedVmcoreinfo(const Vmlinux& vmlinux, std::uint64_t offset, std::string_view release,
                        std::uint64_t page_size);

  /// The first of `names` that the kernel's file has as SYMBOL(key); no line if it has none.
  void add_symbol(std::string_view key, std::initializer_list<std::string_view> names);
  void add_symbol(std::string_view name) { add_symbol(name, {name}); }
  void add_number(std::string_view key, std::int64_t value);
  void add_hex_number(std::string_view key, std::uint64_t value);  ///< 0x...
  /// The text, with KERNELOFFSET and a line that says how it came about.
  std::string finish() &&;

 private:
  void add_line(std::string_view key, std::string_view value);

  const Vmlinux& vmlinux_;
  std::uint64_t offset_;
  std::string text_;
};

}  // namespace vmconvert
