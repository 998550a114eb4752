#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "qemu/memory_map.h"
#include "qemu/qevm_stream.h"
#include "qemu/x86_layout.h"
#include "vmconvert/base/diagnostics.h"

namespace vmconvert::qemu {

/// A part of main RAM, which is the concatenation of its blocks.
struct RamPart {
  std::uint64_t offset = 0;  ///< in the concatenation
  GuestRange guest;
};

/// Where main RAM lies.
struct MainRam {
  std::vector<RamPart> parts;
  GuestPhysAddr end;  ///< of its highest part; memory devices come behind it
};

/// An x86 PC, and what the saved state of its devices says about its memory.
class PcBoard {
 public:
  /// The first bytes of a block, at most `most`.
  using BlockHead = std::function<std::vector<std::byte>(std::size_t block, std::uint64_t most)>;

  /// True if the stream is a PC's.
  static bool matches(const QevmStream& stream);

  /// All must outlive this.
  PcBoard(const QevmStream& stream, const ByteSource& source, Diagnostics& diagnostics);

  /// Bytes of main RAM according to the CMOS, to 64 KiB, if known.
  std::optional<std::uint64_t> ram_size() const;

  /// Where main RAM lies; reported as a decision.
  /// @param main_ram  the blocks it consists of, in address order
  /// @param below_4g  the user's word
  /// @throws Error(usage) if that does not fit
  MainRam layout(const std::vector<std::size_t>& main_ram, std::optional<std::uint64_t> below_4g,
                 const BlockHead& block_head) const;

  /// Lays over main RAM what the guest sees instead of it.
  void overlay_legacy_area(MemoryMap& map, const MainRam& ram) const;

 private:
  std::optional<PciConfig> host_bridge() const;
  LegacyBlocks legacy_blocks() const;
  GuestPhysAddr choose_above_base(std::size_t first_block, std::uint64_t above,
                                  const BlockHead& block_head) const;
  void decide(const std::string& text) const;

  const QevmStream* stream_;
  const ByteSource* source_;
  Diagnostics* diagnostics_;
  Board board_;
  std::optional<Cmos> cmos_;
};

}  // namespace vmconvert::qemu
