#include "conversion.h"
#include "xen/xen_save_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  vmconvert::test::convert_hostile(vmconvert::xen::kXenSave, data, size);
  return 0;
}
