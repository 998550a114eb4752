#include <algorithm>

#include "conversion.h"
#include "qemu/qcow2_reader.h"
#include "support/collecting_diagnostics.h"
#include "support/reading.h"

namespace vmconvert::test {
namespace {

/// Lists the snapshots, and reads those that only an ID can choose.
void read_each_snapshot(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kMost = 4;
  const auto bytes = std::as_bytes(std::span(data, size));
  const Input input(std::make_shared<MemorySource>("input", Bytes(bytes.begin(), bytes.end())),
                    false);
  try {
    const std::vector<Snapshot> snapshots = qemu::kQcow2.snapshots(input);
    for (std::size_t i = 0; i < std::min(snapshots.size(), kMost); ++i) {
      CollectingDiagnostics diagnostics;
      check_image(qemu::kQcow2.read(input, {.snapshot = snapshots[i].id}, diagnostics));
    }
  } catch (const Error&) {
  }
}

}  // namespace
}  // namespace vmconvert::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  vmconvert::test::convert_hostile(vmconvert::qemu::kQcow2, data, size);
  vmconvert::test::read_each_snapshot(data, size);
  return 0;
}
