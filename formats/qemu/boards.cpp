#include "qemu/boards.h"

#include <algorithm>
#include <array>

#include "qemu/guest_blocks.h"
#include "vmconvert/base/error.h"
#include "vmconvert/base/text.h"

namespace vmconvert::qemu {
namespace {

constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

// Truth: QEMU 7.2 and 10.0, the memory maps in the files named. Page: docs/formats/qevm.md,
// "Boards".
constexpr std::array kBoards{
    PlainBoard{"virt", Arch::aarch64, "mach-virt.ram", {kGiB}, kGiB},          // hw/arm/virt.c
    PlainBoard{"sbsa-ref", Arch::aarch64, "sbsa-ref.ram", {1024 * kGiB}, 0},   // hw/arm/sbsa-ref.c
    PlainBoard{"s390-ccw-virtio", Arch::s390x, "s390.ram", {0}, 0},            // hw/s390x/
    PlainBoard{"pseries", Arch::ppc64, "ppc_spapr.ram", {0}, kGiB},            // hw/ppc/spapr.c
    PlainBoard{"powernv8", Arch::ppc64, "pnv.ram", {0}, 0},                    // hw/ppc/pnv.c
    PlainBoard{"powernv9", Arch::ppc64, "pnv.ram", {0}, 0},                    //
    PlainBoard{"powernv10", Arch::ppc64, "pnv.ram", {0}, 0},                   //
    PlainBoard{"virt", Arch::riscv64, "riscv_virt_board.ram", {2 * kGiB}, 0},  // hw/riscv/virt.c
};

bool is_machine(const PlainBoard& board, std::string_view machine) {
  return machine.starts_with(board.machine) &&
         (machine.size() == board.machine.size() || machine[board.machine.size()] == '-');
}

/// Several architectures have a machine "virt"; where the CPUs do not tell, the name of RAM does.
bool is_board(const PlainBoard& board, const QevmStream& stream, std::optional<CpuKind> cpu) {
  if (!stream.machine.empty() && !is_machine(board, stream.machine)) return false;
  const bool has_block = find_block(stream.blocks, board.ram_block).has_value();
  if (!cpu) return has_block;
  return cpu->arch == board.arch && (has_block || !stream.machine.empty());
}

/// "a (64 MiB), b (2 MiB)": the largest blocks, as a stream lists them first.
std::string block_names(const QevmStream& stream) {
  constexpr std::size_t kMost = 8;
  std::string names;
  for (std::size_t i = 0; i < std::min(kMost, stream.blocks.size()); ++i) {
    names += (i == 0 ? "" : ", ") + printable(stream.blocks[i].name) + " (" +
             human_size(stream.blocks[i].used_length) + ")";
  }
  return names + (stream.blocks.size() > kMost ? ", ..." : "");
}

}  // namespace

PlainBoard choose_board(const QevmStream& stream, std::optional<CpuKind> cpu,
                        const ReadOptions& options, std::string_view file) {
  const std::string machine = "machine type " + quoted(stream.machine);
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorKind::unsupported, std::string(file), std::nullopt, why);
  };
  if (cpu && !cpu->is_64) refuse(machine + " with 32-bit CPUs is not supported");
  for (const PlainBoard& board : kBoards) {
    if (is_board(board, stream, cpu)) return board;
  }
  const std::string what = stream.machine.empty()
                               ? "the stream names no machine type and its RAM is of no known one"
                               : machine + " is not supported";
  if (options.block_addresses.empty())
    refuse(what + "; if you know it, say where its RAM lies with --block NAME=ADDRESS; it has " +
           block_names(stream));
  if (!cpu) refuse(what + ", and what its CPUs are is not described");
  return PlainBoard{.machine = stream.machine, .arch = cpu->arch, .is_known = false};
}

}  // namespace vmconvert::qemu
