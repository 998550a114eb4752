#include "qemu_core/layout.h"

#include <array>

namespace vmconvert::qemu_core {

std::span<const Layout> known_layouts() {
  static const std::array kLayouts = [] {
    Layout current{.name = "the structures of QEMU 7.0 to 10.0"};
    // Before 7.0 MemoryRegion has no mapped_via_alias.
    Layout older{.name = "the structures of QEMU 4.0 to 6.2"};
    older.memory_region.size = 96;
    older.memory_region.terminates = 136;
    older.memory_region.ram_device = 137;
    return std::array{current, older};
  }();
  return kLayouts;
}

}  // namespace vmconvert::qemu_core
