#include "support/device_payloads.h"

namespace vmconvert::test {
namespace {

constexpr std::uint64_t kMiB = 1024 * 1024;

void set_le(Bytes& bytes, std::size_t at, std::uint64_t value, unsigned size) {
  for (unsigned i = 0; i < size; ++i) bytes[at + i] = static_cast<std::byte>(value >> (8 * i));
}

Bytes pci_device(const Bytes& config, std::size_t rest) {
  return ByteWriter().be32(2).append(config).fill(rest, 0x11).bytes();
}

Bytes bridge_config(unsigned device) {
  Bytes config(256);
  set_le(config, 0, 0x8086, 2);
  set_le(config, 2, device, 2);
  return config;
}

Bytes bitmap_of(const VirtioMemState& state) {
  const std::uint64_t count = state.region_size / state.block_size;
  std::vector<std::uint64_t> words((count + 63) / 64);
  for (const unsigned block : state.plugged) words[block / 64] |= std::uint64_t{1} << block % 64;
  ByteWriter out;
  for (const std::uint64_t word : words) out.be64(word);
  return out.bytes();
}

void write_checked_part(ByteWriter& out, const VirtioMemState& state) {
  out.be64(state.address).be64(state.region_size).be64(state.block_size).be32(state.node);
}

}  // namespace

Bytes rtc_state(std::uint64_t below, std::uint64_t above) {
  Bytes cmos(128);
  const std::uint64_t extended = below > kMiB ? (below - kMiB) / 1024 : 0;
  set_le(cmos, 0x30, extended > 65535 ? 65535 : extended, 2);
  set_le(cmos, 0x34, below > 16 * kMiB ? (below - 16 * kMiB) / 65536 : 0, 2);
  set_le(cmos, 0x5b, above / 65536, 3);
  return ByteWriter().append(cmos).fill(40, 0x22).bytes();
}

Bytes vmcoreinfo_state(const VmcoreinfoState& state) {
  return ByteWriter()
      .u8(state.has)
      .be16(state.host_format)
      .be16(state.guest_format)
      .be32(state.size)
      .be64(state.paddr)
      .bytes();
}

Bytes vmcoreinfo_note(std::string_view text) {
  ByteWriter out;
  out.le32(11).le32(text.size()).le32(0).text("VMCOREINFO").fill(2).text(text);
  return out.fill((4 - text.size() % 4) % 4).bytes();
}

Bytes i440fx_state(const BridgeState& state) {
  Bytes config = bridge_config(state.device != 0 ? state.device : 0x1237);
  for (std::size_t i = 0; i < state.pam.size(); ++i) config[0x59 + i] = std::byte{state.pam[i]};
  config[0x72] = std::byte{state.smram};
  return pci_device(config, 17);
}

Bytes mch_state(const BridgeState& state) {
  Bytes config = bridge_config(state.device != 0 ? state.device : 0x29c0);
  for (std::size_t i = 0; i < state.pam.size(); ++i) config[0x90 + i] = std::byte{state.pam[i]};
  set_le(config, 0x50, state.ext_tseg_megabytes, 2);
  config[0x9c] = std::byte{state.smbase};
  config[0x9d] = std::byte{state.smram};
  config[0x9e] = std::byte{state.esmramc};
  return pci_device(config, 17);
}

std::uint64_t cpu_value(std::uint64_t seed, std::uint64_t offset) {
  return (seed + 1) * 0x0101010101010101 + offset * 0x1000100010001;
}

Bytes cpu_state(const CpuState& state) {
  const auto value = [&](std::uint64_t offset) { return cpu_value(state.seed, offset); };
  ByteWriter out;
  while (out.size() < 144) out.be64(value(out.size()));               // regs[16], eip, eflags
  // hflags (bit 14: long mode), FPU
  out.be32(0x4000).be16(0x37f).be16(0).be16(0).be16(state.fpregs_format);
  out.fill(80);                                                       // fpregs
  for (int i = 0; i < 10; ++i) {  // es cs ss ds fs gs ldt tr gdt idt
    const std::uint64_t at = out.size();
    out.be32(value(at)).be64(value(at + 4)).be32(value(at + 12)).be32(value(at + 16));
  }
  out.be32(8).be64(0).be64(0);                              // sysenter
  for (int i = 0; i < 4; ++i) out.be64(value(out.size()));  // cr0 cr2 cr3 cr4
  out.fill(64);                                             // dr
  out.be32(state.a20_mask).be32(state.mxcsr);
  out.fill(256);                                    // xmm
  out.be64(0xd01).be64(0).be64(0).be64(0).be64(0);  // efer star lstar cstar fmask
  out.be64(value(out.size()));                      // kernelgsbase
  return out.fill(1817 - out.size()).bytes();
}

Bytes virtio_mem_early_state(const VirtioMemState& state) {
  ByteWriter out;
  write_checked_part(out, state);
  out.be64(state.plugged.size() * state.block_size);
  return out.append(bitmap_of(state)).bytes();
}

Bytes virtio_mem_old_state(const VirtioMemState& state, std::size_t before) {
  ByteWriter out;
  out.fill(before, 0x5a);
  write_checked_part(out, state);
  out.be64(state.region_size);  // usable
  const std::uint64_t plugged = state.plugged.size() * state.block_size;
  out.be64(plugged).be64(plugged);  // size, requested size
  return out.append(bitmap_of(state)).fill(20, 0x5b).bytes();
}

}  // namespace vmconvert::test
