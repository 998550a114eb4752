#include "all_formats.h"

#include <array>

#include "qemu/libvirt_save.h"
#include "qemu/qcow2_reader.h"
#include "qemu/qevm_reader.h"

namespace vmconvert {

std::span<const Format> all_formats() {
  static const std::array table{qemu::kQevm, qemu::kLibvirtSave, qemu::kQcow2};
  return table;
}

}  // namespace vmconvert
