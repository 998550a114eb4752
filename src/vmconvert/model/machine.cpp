#include "vmconvert/model/machine.h"

#include <algorithm>
#include <array>

#include "vmconvert/io/elf_file.h"

namespace vmconvert {
namespace {

constexpr auto kLittle = std::endian::little, kBig = std::endian::big;

struct Row {
  std::string_view name;
  GuestMachine machine;
  std::uint16_t e_machine;
};
constexpr std::array kMachines{
    Row{"i386", {Arch::i386, kLittle}, elf::kMachine386},
    Row{"x86_64", {Arch::x86_64, kLittle}, elf::kMachineX86_64},
    Row{"aarch64", {Arch::aarch64, kLittle}, elf::kMachineAarch64},
    Row{"aarch64_be", {Arch::aarch64, kBig}, elf::kMachineAarch64},
    Row{"s390x", {Arch::s390x, kBig}, elf::kMachineS390},
    Row{"ppc64", {Arch::ppc64, kBig}, elf::kMachinePpc64},
    Row{"ppc64le", {Arch::ppc64, kLittle}, elf::kMachinePpc64},
    Row{"riscv64", {Arch::riscv64, kLittle}, elf::kMachineRiscv},
};

}  // namespace

std::optional<GuestMachine> machine_by_name(std::string_view name) {
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) {
    return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  });
  for (const std::string_view x86 : {"i486", "i586", "i686"}) {
    if (lower == x86) lower = "i386";
  }
  const auto row = std::find_if(kMachines.begin(), kMachines.end(),
                                [&](const Row& r) { return r.name == lower; });
  if (row == kMachines.end()) return std::nullopt;
  return row->machine;
}

std::string machine_names() {
  std::string names;
  for (const Row& row : kMachines) {
    if (!names.empty()) names += ", ";
    names += row.name;
  }
  return names;
}

std::optional<GuestMachine> machine_by_elf(bool is_64, std::endian order, std::uint16_t e_machine) {
  const auto row = std::find_if(kMachines.begin(), kMachines.end(), [&](const Row& r) {
    return r.e_machine == e_machine && r.machine.order == order;
  });
  if (row == kMachines.end() || (!is_64 && row->machine.arch != Arch::i386)) return std::nullopt;
  return row->machine;
}

std::string machine_name(const GuestMachine& machine) {
  const auto row = std::find_if(kMachines.begin(), kMachines.end(),
                                [&](const Row& r) { return r.machine == machine; });
  return std::string(row == kMachines.end() ? arch_name(machine.arch) : row->name);
}

void assume_machine(std::string_view file, const std::optional<GuestMachine>& wanted,
                    GuestImage& image, Diagnostics& diagnostics) {
  const GuestMachine machine = wanted.value_or(GuestMachine{});
  image.arch = machine.arch;
  image.byte_order = machine.order;
  if (wanted) {
    diagnostics.decision(file, "guest of " + machine_name(machine) + " (from --arch)");
  } else {
    diagnostics.warn(file, "does not tell the guest's architecture; " + machine_name(machine) +
                               " is assumed (--arch says otherwise)");
  }
}

}  // namespace vmconvert
