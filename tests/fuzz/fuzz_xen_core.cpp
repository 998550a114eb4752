#include "conversion.h"
#include "xen/xen_core_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  vmconvert::test::convert_hostile(vmconvert::xen::kXenCore, data, size);
  return 0;
}
