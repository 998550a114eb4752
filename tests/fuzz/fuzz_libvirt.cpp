#include "conversion.h"
#include "qemu/libvirt_save.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  vmconvert::test::convert_hostile(vmconvert::qemu::kLibvirtSave, data, size);
  return 0;
}
