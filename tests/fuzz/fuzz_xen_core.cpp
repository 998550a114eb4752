#include "conversion.h"
#include "support/collecting_diagnostics.h"
#include "support/reading.h"
#include "vmconvert/convert/xen_remap_log.h"
#include "vmconvert/model/xen_resolve.h"
#include "xen/xen_core_reader.h"

namespace {

/// What needs page tables that were translated.
void use_translation(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  vmconvert::test::ReadResult result = vmconvert::test::read_bytes(
      {bytes.begin(), bytes.end()}, {.xen_layout = vmconvert::XenLayout::machine});
  if (!result.image || !result.image->xen || !result.image->xen->translation) return;
  vmconvert::xen_remap_log("input", *result.image);
  vmconvert::use_machine_layout("input", *result.image, *result.diagnostics);
  vmconvert::test::write_hostile("elf", *result.image);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  vmconvert::test::convert_hostile(vmconvert::xen::kXenCore, data, size);
  use_translation(data, size);
  return 0;
}
