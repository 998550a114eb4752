#include "all_formats.h"

#include <array>

#include "elf/elf_reader.h"
#include "kdump/kdump_reader.h"
#include "lime/lime_reader.h"
#include "qemu/libvirt_save.h"
#include "qemu/qcow2_reader.h"
#include "qemu/qevm_reader.h"
#include "qemu_core/qemu_core_reader.h"
#include "raw/raw_reader.h"
#include "vmware/vmware_reader.h"
#include "xen/xen_core_reader.h"
#include "xen/xen_save_reader.h"

namespace vmconvert {

std::span<const Format> all_formats() {
  static const std::array table{
      qemu::kQevm,   qemu::kLibvirtSave, qemu::kQcow2,    elf_dump::kElf, qemu_core::kQemuCore,
      kdump::kKdump, lime_image::kLime,  vmware::kVmware, vmware::kVmem,  vmware::kPanic,
      xen::kXenCore, xen::kXenSave,      raw_image::kRaw};
  return table;
}

}  // namespace vmconvert
