#pragma once

#include <cstdint>
#include <vector>

#include "support/byte_writer.h"

namespace vmconvert::test {

/// State of "mc146818rtc", version 3, of a board with this much RAM below and above 4 GiB.
Bytes rtc_state(std::uint64_t below, std::uint64_t above);

/// State of "vmcoreinfo", version 1: 17 bytes.
struct VmcoreinfoState {
  unsigned has = 1;
  unsigned host_format = 0;  ///< Linux overwrites it with 0
  unsigned guest_format = 1;
  std::uint32_t size = 4132;
  std::uint64_t paddr = 0;
};
Bytes vmcoreinfo_state(const VmcoreinfoState& state);

/// The ELF note the guest holds; as long as its text needs, padding included.
Bytes vmcoreinfo_note(std::string_view text);

/// Registers of a host bridge that decide what is seen below 1 MiB.
struct BridgeState {
  std::vector<std::uint8_t> pam = {0x30, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33};  ///< all RAM
  std::uint8_t smram = 0x02;
  std::uint8_t esmramc = 0x38;
  std::uint8_t smbase = 0;
  std::uint16_t ext_tseg_megabytes = 16;
  std::uint16_t device = 0;  ///< 0: the bridge's own
};
/// State of section "I440FX", version 3.
Bytes i440fx_state(const BridgeState& state = {});
/// State of section "mch", version 1.
Bytes mch_state(const BridgeState& state = {});

/// State of "cpu", version 12 or 11: each register of vCPU `index` has a value of its own.
struct CpuState {
  std::uint64_t seed = 0;
  std::uint32_t a20_mask = 0xffffffff;
  std::uint32_t mxcsr = 0x1f80;
  unsigned fpregs_format = 0;
};
Bytes cpu_state(const CpuState& state);
/// The value that cpu_state() gives the field at this offset of the payload.
std::uint64_t cpu_value(std::uint64_t seed, std::uint64_t offset);

/// State of a virtio-mem device.
struct VirtioMemState {
  std::uint64_t address = 0;
  std::uint64_t region_size = 0;
  std::uint64_t block_size = std::uint64_t{2} << 20;
  std::uint32_t node = 0;
  std::vector<unsigned> plugged;  ///< blocks that are
};
/// As QEMU 8.0 and later write it, in a section "PATH/virtio-mem-device-early".
Bytes virtio_mem_early_state(const VirtioMemState& state);
/// As QEMU 7 has it, behind `before` bytes of the device's virtio state.
Bytes virtio_mem_old_state(const VirtioMemState& state, std::size_t before);

}  // namespace vmconvert::test
