#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vmconvert/base/address.h"
#include "vmconvert/io/byte_source.h"
#include "vmconvert/model/kernel_facts.h"
#include "vmconvert/model/metadata.h"
#include "vmconvert/model/run_list.h"
#include "vmconvert/model/vcpu.h"
#include "vmconvert/model/xen_facts.h"

namespace vmconvert {

enum class Arch { i386, x86_64, aarch64, s390x, ppc64, riscv64 };

/// "x86_64", as uname -m has it.
std::string_view arch_name(Arch arch);

/// A note of an input that is a vmcore itself, kept as it is.
struct Note {
  std::string name;  ///< without the NUL that ends it
  std::uint32_t type = 0;
  std::vector<std::byte> desc;  ///< in the guest's byte order
};

/// A saved virtual machine, whatever it was saved by. Holds views of the sources, never the memory.
struct GuestImage {
  Arch arch = Arch::x86_64;
  std::endian byte_order = std::endian::little;  ///< of the guest
  std::vector<std::shared_ptr<const ByteSource>> sources;
  RunList runs{4096};
  std::optional<Vmcoreinfo> vmcoreinfo;
  KernelFacts kernel;
  /// In vCPU order; empty if the input has none that could be read.
  std::vector<Vcpu> vcpus;
  /// If not empty, what a vmcore holds instead of notes made from `vcpus` and `vmcoreinfo`.
  std::vector<Note> notes;
  Metadata metadata;
  std::vector<Attachment> attachments;
  std::optional<XenFacts> xen;   ///< of guests of Xen
  std::optional<Screen> screen;  ///< only if ReadOptions::screen asked for it, and there was one
};

/// Reads guest memory, for a reader that needs what the guest holds.
/// @returns false if a byte of [at, at + out.size()) is in no run
/// @throws Error(io) as the source does
bool read_guest(const GuestImage& image, GuestPhysAddr at, std::span<std::byte> out);

}  // namespace vmconvert
