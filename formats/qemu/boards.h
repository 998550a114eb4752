#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "qemu/cpu_sections.h"
#include "qemu/qevm_stream.h"
#include "vmconvert/base/address.h"
#include "vmconvert/model/format.h"

namespace vmconvert::qemu {

/// A machine whose main RAM is one piece; what is not a PC is one of these.
struct PlainBoard {
  std::string_view machine;  ///< machine type, or what comes before "-VERSION" in it
  Arch arch = Arch::aarch64;
  std::string_view ram_block;  ///< name of main RAM unless the user chose one
  GuestPhysAddr ram;           ///< where main RAM begins
  /// DIMMs begin at the next multiple of this behind main RAM; 0 if the board has none.
  std::uint64_t device_memory_alignment = 0;
  /// False for a machine that is not in the table: the user says where its memory lies.
  bool is_known = true;
};

/// The board of a stream that is not a PC's. If it is none of the table, but the user says where
/// blocks lie (--block), that is taken for all the guest's memory.
/// @param cpu  what the stream says about its CPUs
/// @throws Error(unsupported) naming the machine type
PlainBoard choose_board(const QevmStream& stream, std::optional<CpuKind> cpu,
                        const ReadOptions& options, std::string_view file);

}  // namespace vmconvert::qemu
