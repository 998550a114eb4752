#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "vmconvert/model/vcpu.h"
#include "vmware/checkpoint.h"

namespace vmconvert::vmware {

/// Registers of an x86 vCPU while tags arrive in any order and several tell the same.
class X86Draft {
 public:
  /// Takes in a tag of this vCPU, whose first index has been looked at. What is not a register, or
  /// of an unexpected size, is ignored.
  /// @throws Error(corrupt, unsupported, io) as Checkpoint::bytes() does
  void add(const Checkpoint& checkpoint, const Tag& tag);

  /// True if the instruction pointer is known: without it there is no register worth a note.
  bool usable() const { return slots_[kRip].rank != 0; }
  bool has_control_registers() const { return slots_[kCr0].rank != 0; }
  /// What the fifth and sixth register of packed ones look like: 1 for rbp, rsp, as crash reads
  /// them; -1 for rsp, rbp, the processor's order; 0 if nothing tells or there are none.
  int packed_order() const;
  bool has_packed() const { return packed_stack_known_; }
  /// @param crash_order  of the fifth and sixth packed register
  X86Registers registers(bool crash_order) const;

 private:
  /// Values by the processor's numbers: general registers, then others. Of two tags for the same
  /// register that of the higher rank counts, of the same rank the first.
  enum Index : std::size_t {
    kRax,
    kRcx,
    kRdx,
    kRbx,
    kRsp,
    kRbp,
    kRsi,
    kRdi,
    kR8,
    kRip = 16,
    kRflags,
    kCr0,                   // to CR8
    kSelectors = kCr0 + 9,  // ES CS SS DS FS GS LDTR TR
    kBases = kSelectors + 8,
    kLimits = kBases + 8,
    kTables = kLimits + 8,  // GDTR and IDTR: limit, low and high half of the base
    kCount = kTables + 6
  };
  struct Slot {
    std::uint64_t value = 0;
    unsigned rank = 0;  ///< 0: nothing is known
  };
  struct Name;
  static const std::span<const Name> kNames;

  void set(std::size_t index, std::uint64_t value, unsigned rank);
  bool add_numbered(const Tag& tag, std::uint64_t value);
  void add_packed(std::string_view name, std::span<const std::byte> bytes);
  X86Segment segment(std::size_t number) const;
  X86Segment table(std::size_t number) const;

  std::array<Slot, kCount> slots_{};
  std::array<std::uint64_t, 2> packed_stack_{};  ///< the fifth and sixth packed register
  bool packed_stack_known_ = false;
};

}  // namespace vmconvert::vmware
