#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "support/byte_writer.h"

namespace vmconvert::test {

/// The .guest file of a VMware panic dump, by docs/formats/vmware.md.
struct PanicFile {
  unsigned version = 4;
  std::uint64_t pages = 4;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> holes{};  ///< first page, pages
  unsigned vcpus = 1;
  bool apart = false;                         ///< unknown bytes of a vCPU behind its state
  std::optional<std::uint64_t> last{};        ///< last guest address, if not the true one
  std::uint32_t architecture = 1;             ///< version 7
  std::optional<std::uint32_t> hole_count{};  ///< if not the true one

  Bytes bytes() const;
};

/// What a register of a vCPU has in such a file: 0 to 26 as in pt_regs, in their order.
std::uint64_t panic_register(unsigned vcpu, unsigned number);

}  // namespace vmconvert::test
