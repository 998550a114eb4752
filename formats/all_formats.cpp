#include "all_formats.h"

#include <array>

#include "qemu/libvirt_save.h"
#include "qemu/qcow2_reader.h"
#include "qemu/qevm_reader.h"
#include "qemu_core/qemu_core_reader.h"

namespace vmconvert {

std::span<const Format> all_formats() {
  static const std::array table{qemu::kQevm, qemu::kLibvirtSave, qemu::kQcow2, qemu_core::kQemuCore};
  return table;
}

}  // namespace vmconvert
