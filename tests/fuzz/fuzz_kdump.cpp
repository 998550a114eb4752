#include "conversion.h"
#include "kdump/kdump_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  vmconvert::test::convert_hostile(vmconvert::kdump::kKdump, data, size);
  return 0;
}
