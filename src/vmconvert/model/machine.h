#pragma once

#include <bit>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "vmconvert/base/diagnostics.h"
#include "vmconvert/model/guest_image.h"

namespace vmconvert {

/// What processor a guest has, as far as the header of a vmcore tells it.
struct GuestMachine {
  Arch arch = Arch::x86_64;
  std::endian order = std::endian::little;
  friend bool operator==(const GuestMachine&, const GuestMachine&) = default;
};

/// The machine that `uname -m` calls so: "x86_64", "i686", "ppc64le"; upper and lower case are the
/// same, since QEMU 7.2 writes "S390X".
std::optional<GuestMachine> machine_by_name(std::string_view name);

/// Every name that a user may give, for messages: "i386, x86_64, ..."
std::string machine_names();

/// The machine of an ELF file. EM_386 may come in either class, all others in ELFCLASS64.
std::optional<GuestMachine> machine_by_elf(bool is_64, std::endian order, std::uint16_t e_machine);

/// "x86_64", "ppc64le".
std::string machine_name(const GuestMachine& machine);

/// Sets the machine of an image whose input does not tell it: the user's word, or x86_64 with a
/// warning that says so.
void assume_machine(std::string_view file, const std::optional<GuestMachine>& wanted,
                    GuestImage& image, Diagnostics& diagnostics);

}  // namespace vmconvert
