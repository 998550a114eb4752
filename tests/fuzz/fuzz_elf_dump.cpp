#include "conversion.h"
#include "elf/elf_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  vmconvert::test::convert_hostile(vmconvert::elf_dump::kElf, data, size);
  return 0;
}
