#include "halves.h"
#include "vmware/vmware_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vmconvert;
  test::convert_hostile_halves(vmware::kPanic, ".guest", vmware::kVmem, data, size);
  return 0;
}
