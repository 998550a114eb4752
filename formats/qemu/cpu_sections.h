#pragma once

#include <bit>
#include <optional>
#include <span>
#include <vector>

#include "qemu/device_fields.h"
#include "qemu/qevm_stream.h"
#include "vmconvert/base/diagnostics.h"
#include "vmconvert/model/guest_image.h"

namespace vmconvert::qemu {

/// What the CPUs of a stream are, as far as that can be told.
struct CpuKind {
  Arch arch = Arch::x86_64;  ///< of x86 always this one
  bool is_64 = true;         ///< false: 32-bit ARM, RISC-V or PowerPC, which has no Arch
};

/// The "cpu" sections of a stream, in vCPU order. docs/formats/qevm.md, "Registers".
class CpuSections {
 public:
  /// Both must outlive this.
  CpuSections(const QevmStream& stream, const ByteSource& source);

  /// Told by the names of the fields of the first vCPU; nothing if they are not described.
  std::optional<CpuKind> kind() const;
  /// The registers of every vCPU. Empty, with the reason reported, if one of them is of a layout
  /// that is not known: an incomplete set would shift the numbering.
  std::vector<Vcpu> read(Arch arch, Diagnostics& diagnostics) const;

 private:
  const DeviceField* description(const DeviceSection& section) const;

  const ByteSource* source_;
  std::vector<const DeviceSection*> sections_;
  std::optional<DeviceFields> fields_;
};

/// The byte order a guest's kernel uses; of an architecture that has both, what the first vCPU
/// says, little-endian if there is none.
std::endian guest_byte_order(Arch arch, std::span<const Vcpu> vcpus);

}  // namespace vmconvert::qemu
