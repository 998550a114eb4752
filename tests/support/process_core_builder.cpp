#include "support/process_core_builder.h"

#include <stdexcept>

#include "support/qevm_builder.h"

namespace vmconvert::test {
namespace {

/// Integers of a size and byte order that the core decides.
class Ordered {
 public:
  Ordered(bool big, bool wide) : big_(big), wide_(wide) {}
  Ordered& half(unsigned value) {
    big_ ? out.be16(value) : out.le16(value);
    return *this;
  }
  Ordered& word(std::uint64_t value) {
    big_ ? out.be32(value) : out.le32(value);
    return *this;
  }
  Ordered& wide(std::uint64_t value) {
    big_ ? out.be64(value) : out.le64(value);
    return *this;
  }
  /// 8 bytes, or 4 of a 32-bit file.
  Ordered& native(std::uint64_t value) { return wide_ ? wide(value) : word(value); }

  ByteWriter out;

 private:
  bool big_, wide_;
};

constexpr std::uint64_t kProgram = 0x555500000000, kBss = 0x555500100000, kHeap = 0x555510000000;
constexpr std::uint64_t kHeapSize = 2 * 4096;

}  // namespace

void ProcessCore::put(std::uint64_t at, std::uint64_t value, unsigned size) {
  CoreMapping& mapping = mapping_at(at);
  for (unsigned i = 0; i < size; ++i) {
    const unsigned shift = 8 * (big_endian ? size - 1 - i : i);
    mapping.bytes.at(at - mapping.address + i) = static_cast<std::byte>(value >> shift);
  }
}

void ProcessCore::u128(std::uint64_t at, std::uint64_t low, std::uint64_t high) {
  u64(at, big_endian ? high : low);
  u64(at + 8, big_endian ? low : high);
}

void ProcessCore::text(std::uint64_t at, std::string_view value) {
  for (const char c : value) u8(at++, static_cast<unsigned char>(c));
  u8(at, 0);
}

void ProcessCore::copy(std::uint64_t at, const Bytes& bytes) {
  for (const std::byte byte : bytes) u8(at++, std::to_integer<unsigned>(byte));
}

CoreMapping& ProcessCore::mapping_at(std::uint64_t address) {
  for (CoreMapping& mapping : mappings) {
    if (address >= mapping.address && address - mapping.address < mapping.bytes.size())
      return mapping;
  }
  throw std::logic_error("no mapping there");
}

Bytes ProcessCore::notes() const {
  Ordered notes(big_endian, is_64);
  const auto note = [&](std::uint32_t kind, const Bytes& desc) {
    notes.word(5)
        .word(desc.size())
        .word(kind)
        .out.text("CORE")
        .fill(4)
        .append(desc)
        .fill((4 - desc.size() % 4) % 4);
  };
  ByteWriter info;
  info.fill(56).text(command.substr(0, 79));
  info.fill(136 - info.size());
  note(3, info.bytes());
  Ordered auxv(big_endian, is_64);
  auxv.wide(6).wide(4096);
  if (entry != 0) auxv.wide(9).wide(entry);
  note(6, auxv.wide(0).wide(0).out.bytes());
  if (file_note) {
    Ordered files(big_endian, is_64);
    std::uint64_t count = 0;
    for (const CoreMapping& mapping : mappings) count += mapping.file.empty() ? 0U : 1U;
    files.wide(count + more_files).wide(4096);
    for (const CoreMapping& mapping : mappings) {
      if (mapping.file.empty()) continue;
      files.wide(mapping.address)
          .wide(mapping.address + mapping.bytes.size())
          .wide(mapping.file_offset / 4096);
    }
    for (const CoreMapping& mapping : mappings) {
      if (!mapping.file.empty()) files.out.text(mapping.file).u8(0);
    }
    note(0x46494c45, files.out.bytes());
  }
  return notes.out.bytes();
}

Bytes ProcessCore::bytes() const {
  const Bytes notes_bytes = notes();
  const std::uint64_t head = is_64 ? 64 : 52;
  const std::uint64_t entry_size = is_64 ? 56 : 32;
  const std::uint64_t count = mappings.size() + 1;
  const std::uint64_t notes_at = head + entry_size * count;
  std::uint64_t data = (notes_at + notes_bytes.size() + 4095) / 4096 * 4096;
  Ordered core(big_endian, is_64);
  core.out.u8(0x7f).text("ELF").u8(is_64 ? 2 : 1).u8(big_endian ? 2 : 1).u8(1).fill(9);
  core.half(type).half(machine).word(1).native(0).native(head).native(0).word(0);
  core.half(static_cast<unsigned>(head)).half(static_cast<unsigned>(entry_size));
  core.half(static_cast<unsigned>(count)).half(0).half(0).half(0);
  const auto header = [&](std::uint64_t kind, std::uint64_t flags, std::uint64_t offset,
                          const CoreMapping& m, std::uint64_t filesz, std::uint64_t memsz) {
    core.word(kind);
    if (is_64) core.word(flags);
    core.native(offset).native(m.address).native(m.physical).native(filesz).native(memsz);
    if (!is_64) core.word(flags);
    core.native(0);
  };
  header(4, 0, notes_at, {}, notes_bytes.size(), 0);
  for (const CoreMapping& mapping : mappings) {
    const std::uint64_t stored = mapping.stored ? mapping.bytes.size() : 0;
    header(1, mapping.writable ? 6 : 4, data, mapping, stored, mapping.bytes.size());
    data += stored;
  }
  core.out.append(notes_bytes);
  core.out.fill((4096 - core.out.size() % 4096) % 4096);
  for (const CoreMapping& mapping : mappings) {
    if (mapping.stored) core.out.append(mapping.bytes);
  }
  return core.out.bytes();
}

std::uint64_t SampleProcess::allocate(std::uint64_t size) {
  const std::uint64_t at = heap_;
  heap_ += (size + 15) / 16 * 16;
  return at;
}

/// Object: 0 class, 32 parent. ObjectClass: 0 type. TypeImpl: 0 name.
std::uint64_t SampleProcess::object(ProcessCore& core, std::string_view type, std::uint64_t parent,
                                    std::uint64_t size) {
  const std::uint64_t type_name = allocate(type.size() + 1);
  const std::uint64_t type_impl = allocate(16);
  const std::uint64_t object_class = allocate(16);
  const std::uint64_t at = allocate(size);
  core.text(type_name, type);
  core.u64(type_impl, type_name);
  core.u64(object_class, type_impl);
  core.u64(at, object_class);
  core.u64(at + 32, parent);
  return at;
}

void SampleProcess::add_block(ProcessCore& core, std::size_t number) {
  const SampleBlock& b = blocks[number];
  const std::uint64_t block = block_at[number];
  const std::uint64_t region = region_at[number];
  core.u64(block + 16, region);
  core.u64(block + 24, b.host);
  core.u64(block + 48, b.size);
  core.u64(block + 56, b.size);
  core.text(block + 76, b.name);
  if (number + 1 < blocks.size()) core.u64(block + 336, block_at[number + 1]);
  core.u8(region + 41, 1);
  core.u8(region + 43, b.readonly ? 1 : 0);
  core.u8(region + 44, b.nonvolatile ? 1 : 0);
  core.u64(region + 56, block);
  core.u128(region + (older ? 96 : 112), b.size);
  core.u8(region + (older ? 136 : 152), 1);
  core.u8(region + (older ? 137 : 153), b.device ? 1 : 0);
  if (b.backend) {
    owner_at[number] = object(core, "memory-backend-ram", 0, 64);
    core.u64(owner_at[number] + 40, b.size);
    core.u8(owner_at[number] + 49, b.dump ? 1 : 0);
    core.u64(region + 64, owner_at[number]);
  }
  Bytes content;
  for (std::uint64_t page = 0; page * 4096 < b.size; ++page) {
    const Bytes bytes = page_of(100 * number + page);
    content.insert(content.end(), bytes.begin(), bytes.end());
  }
  content.resize(b.size);
  core.mappings.push_back({.address = b.host, .bytes = content});
}

ProcessCore SampleProcess::build(bool big_endian) {
  ProcessCore core;
  core.big_endian = big_endian;
  core.mappings = {
      {.address = kProgram, .bytes = Bytes(64), .writable = false, .file = executable},
      {.address = kBss, .bytes = Bytes(0x600)},
      {.address = kHeap, .bytes = Bytes(kHeapSize)},
  };
  heap_ = kHeap + 16;
  owner_at.assign(blocks.size(), 0);
  name = allocate(8);
  core.text(name, "memory");
  const std::uint64_t machine = object(core, "pc-q35-7.2-machine", 0, 64);
  device_ = object(core, "ioapic", machine, 64);
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    block_at.push_back(allocate(352));
    region_at.push_back(allocate(256));
  }
  for (std::size_t i = 0; i < blocks.size(); ++i) add_block(core, i);
  const std::uint64_t io = allocate(256);
  core.u64(io + 64, device_);
  first_range = allocate(64 * ranges.size());
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    const SampleRange& range = ranges[i];
    const std::uint64_t at = first_range + 64 * i;
    core.u64(at, range.block == SampleRange::kIo ? io : region_at[range.block]);
    core.u64(at + 8, range.offset);
    core.u128(at + 16, range.start);
    core.u128(at + 32, range.size);
  }
  view = allocate(64);
  core.u64(view + 24, first_range);
  core.u32(view + 32, ranges.size());
  address_space = kBss + 0x100;
  core.u64(address_space + 16, name);
  core.u64(address_space + 24, io);
  core.u64(address_space + 32, view);
  vmcoreinfo = object(core, "vmcoreinfo", machine, 256) + 160;
  if (note_at != 0) {
    core.u8(vmcoreinfo, 1);
    // Little-endian on every host.
    core.copy(vmcoreinfo + 8, ByteWriter().le16(0).le16(1).le32(4132).le64(note_at).bytes());
  }
  core.mapping_at(kHeap).bytes.resize(heap_ - kHeap);
  return core;
}

}  // namespace vmconvert::test
