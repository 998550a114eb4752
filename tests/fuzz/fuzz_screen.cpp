#include "conversion.h"
#include "qemu/qevm_reader.h"

// The reader that fuzz_qevm runs, on a corpus of streams with displays.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  vmconvert::test::read_hostile(vmconvert::qemu::kQevm, data, size);
  return 0;
}
