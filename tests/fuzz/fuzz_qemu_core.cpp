#include "conversion.h"
#include "qemu_core/qemu_core_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  vmconvert::test::convert_hostile(vmconvert::qemu_core::kQemuCore, data, size);
  return 0;
}
