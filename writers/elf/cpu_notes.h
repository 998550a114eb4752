#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "elf/elf_format.h"
#include "vmconvert/model/guest_image.h"

namespace vmconvert::elf {

/// Collects notes; each is padded to 4 bytes.
class NoteList {
 public:
  explicit NoteList(std::endian order) : order_(order) {}

  std::endian order() const { return order_; }
  /// @param name  without the NUL that ends it
  void add(std::string_view name, std::uint32_t type, std::span<const std::byte> desc);
  /// A record of packed integers, which must be of this list's byte order.
  template <class T>
  void add_record(std::string_view name, std::uint32_t type, const T& record) {
    static_assert(alignof(T) == 1);
    add(name, type, std::as_bytes(std::span(&record, 1)));
  }
  std::vector<std::byte> take() && { return std::move(bytes_); }

 private:
  void append_padded(std::span<const std::byte> part);

  std::endian order_;
  std::vector<std::byte> bytes_;
};

// Types of notes: elf.h of glibc 2.36, include/uapi/linux/elf.h.
inline constexpr std::uint32_t kNtPrstatus = 1, kNtFpregset = 2;

/// What Linux's struct elf_prstatus (include/linux/elfcore.h) holds before the registers, of 64-bit
/// architectures. Only the thread id means anything for a vCPU.
template <std::endian Order>
struct PrstatusHead {
  typename Layout<Order>::u64 pr_info_and_signals[4];  //   0
  typename Layout<Order>::u32 pr_pid;  //  32  vCPU number + 1, as QEMU has it: not zero, unique
  typename Layout<Order>::u32 pr_ppid_pgrp_sid[3];  //  36
  typename Layout<Order>::u64 pr_times[8];          //  48
};
static_assert(sizeof(PrstatusHead<std::endian::little>) == 112);

// The notes of one vCPU, of number `index`, in QEMU's order. docs/writers/elf.md, "Notes".
void add_prstatus_x86_64(NoteList& notes, const X86Registers& registers, std::uint32_t index);
void add_prstatus_i386(NoteList& notes, const X86Registers& registers, std::uint32_t index);
/// The note named "QEMU".
void add_qemu_note(NoteList& notes, const X86Registers& registers);
void add_cpu_notes(NoteList& notes, const Aarch64Registers& registers, std::uint32_t index);
void add_cpu_notes(NoteList& notes, const S390xRegisters& registers, std::uint32_t index);
void add_cpu_notes(NoteList& notes, const Ppc64Registers& registers, std::uint32_t index);
void add_cpu_notes(NoteList& notes, const Riscv64Registers& registers, std::uint32_t index);

}  // namespace vmconvert::elf
