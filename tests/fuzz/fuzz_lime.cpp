#include "conversion.h"
#include "lime/lime_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  vmconvert::test::convert_hostile(vmconvert::lime_image::kLime, data, size);
  return 0;
}
