#include "qemu_core/guest_arch.h"

#include <array>

#include "vmconvert/base/packed.h"
#include "vmconvert/base/text.h"

namespace vmconvert::qemu_core {
namespace {

constexpr std::string_view kPrefix = "qemu-system-";

struct Named {
  std::string_view name;
  Arch arch;
};
constexpr std::array kArchs{
    Named{"x86_64", Arch::x86_64}, Named{"i386", Arch::i386},   Named{"aarch64", Arch::aarch64},
    Named{"s390x", Arch::s390x},   Named{"ppc64", Arch::ppc64}, Named{"riscv64", Arch::riscv64},
};
// Names that one board gives its RAM; "mach-virt.ram" is of 32-bit ARM as well.
constexpr std::array kBlocks{
    Named{"pc.ram", Arch::x86_64},
    Named{"microvm.ram", Arch::x86_64},
    Named{"s390.ram", Arch::s390x},
    Named{"ppc_spapr.ram", Arch::ppc64},
};

struct Machine {
  std::uint16_t e_machine;
  Arch arch;
};
constexpr std::array kHosts{
    Machine{elf::kMachineX86_64, Arch::x86_64}, Machine{elf::kMachineAarch64, Arch::aarch64},
    Machine{elf::kMachineS390, Arch::s390x},    Machine{elf::kMachinePpc64, Arch::ppc64},
    Machine{elf::kMachineRiscv, Arch::riscv64},
};

}  // namespace

GuestArch find_guest_arch(const ByteSource& source, const ElfHeader& host,
                          const ProcessNotes& notes, const FlatMap& map) {
  const MappedFile* qemu = notes.qemu();
  const std::string_view command = notes.command;
  const std::string_view program = base_name(
      qemu != nullptr ? std::string_view(qemu->path) : command.substr(0, command.find(' ')));
  if (program.starts_with(kPrefix)) {
    // Ubuntu has "qemu-system-x86_64-microvm" and the like.
    std::string_view suffix = program.substr(kPrefix.size());
    suffix = suffix.substr(0, suffix.find('-'));
    for (const Named& named : kArchs) {
      if (named.name == suffix) return {named.arch, "the executable " + std::string(program)};
    }
    throw Error(ErrorKind::unsupported, source.name(), std::nullopt,
                "guests of " + quoted(program) + " are not supported");
  }
  if (program == "qemu-kvm" || program == "kvm") {
    for (const Machine& machine : kHosts) {
      if (machine.e_machine == host.e_machine)
        return {machine.arch, "the host, as " + std::string(program) + " runs no other guests"};
    }
  }
  for (const Named& named : kBlocks) {
    for (const Block& block : map.blocks) {
      if (block.name == named.name) return {named.arch, "the name of memory block " + block.name};
    }
  }
  throw Error(ErrorKind::unsupported, source.name(), std::nullopt,
              "nothing in the core tells the guest's architecture: QEMU's executable has no name "
              "of the form qemu-system-ARCH");
}

std::optional<std::endian> ppc64_order(const GuestImage& image) {
  constexpr std::size_t kVectors = 0x3000;
  // Interrupt vectors begin with moves from and to special purpose registers. Power ISA, book I,
  // 3.3.17: primary opcode 31, extended opcodes 339 (mfspr) and 467 (mtspr).
  constexpr std::uint32_t kMask = 0xfc0007ff, kMfspr = 0x7c0002a6, kMtspr = 0x7c0003a6;
  constexpr int kEnough = 16;
  std::vector<std::byte> bytes(kVectors);
  if (!read_guest(image, {0}, bytes)) return std::nullopt;
  int big = 0;
  int little = 0;
  for (std::size_t at = 0; at < bytes.size(); at += 4) {
    const auto word = std::span(bytes).subspan(at);
    const auto is_move = [&](std::endian order) {
      const std::uint32_t op = load<std::uint32_t>(word, order) & kMask;
      return op == kMfspr || op == kMtspr;
    };
    big += is_move(std::endian::big) ? 1 : 0;
    little += is_move(std::endian::little) ? 1 : 0;
  }
  if (big >= kEnough && little == 0) return std::endian::big;
  if (little >= kEnough && big == 0) return std::endian::little;
  return std::nullopt;
}

}  // namespace vmconvert::qemu_core
