#include "vmware/x86_draft.h"

#include <algorithm>

#include "vmconvert/base/packed.h"

namespace vmconvert::vmware {

// Truth: docs/formats/vmware.md, "Registers", which names who saw or read what.
struct X86Draft::Name {
  std::string_view name;
  std::size_t first;  ///< where its value goes; that of number i goes i further
  std::size_t count;  ///< numbers that the second index may have; 0: there is no second index
  unsigned rank;
};

namespace {

// Of a register that is saved twice. A tag of its own with all bits; a packed one; a low half.
constexpr unsigned kWhole = 3, kPacked = 2, kLowHalf = 1;
constexpr std::uint64_t kSelectorMask = 0xffff;
constexpr std::size_t kGeneralSize = 128, kControlSize = 72, kTableSize = 10;

bool canonical(std::uint64_t address) {
  const std::uint64_t top = address >> 47;
  return top == 0 || top == 0x1ffff;
}

bool can_be_stack(std::uint64_t address) {
  return address != 0 && address % 8 == 0 && canonical(address);
}

}  // namespace

const std::span<const X86Draft::Name> X86Draft::kNames = [] {
  static constexpr std::array names{
      Name{"rax", kRax, 0, kWhole},         Name{"rcx", kRcx, 0, kWhole},
      Name{"rdx", kRdx, 0, kWhole},         Name{"rbx", kRbx, 0, kWhole},
      Name{"rsp", kRsp, 0, kWhole},         Name{"rbp", kRbp, 0, kWhole},
      Name{"rsi", kRsi, 0, kWhole},         Name{"rdi", kRdi, 0, kWhole},
      Name{"r8", kR8, 0, kWhole},           Name{"r9", kR8 + 1, 0, kWhole},
      Name{"r10", kR8 + 2, 0, kWhole},      Name{"r11", kR8 + 3, 0, kWhole},
      Name{"r12", kR8 + 4, 0, kWhole},      Name{"r13", kR8 + 5, 0, kWhole},
      Name{"r14", kR8 + 6, 0, kWhole},      Name{"r15", kR8 + 7, 0, kWhole},
      Name{"eax", kRax, 0, kLowHalf},       Name{"ecx", kRcx, 0, kLowHalf},
      Name{"edx", kRdx, 0, kLowHalf},       Name{"ebx", kRbx, 0, kLowHalf},
      Name{"esp", kRsp, 0, kLowHalf},       Name{"ebp", kRbp, 0, kLowHalf},
      Name{"esi", kRsi, 0, kLowHalf},       Name{"edi", kRdi, 0, kLowHalf},
      Name{"rip", kRip, 0, kWhole},         Name{"eip", kRip, 0, kLowHalf},
      Name{"rflags", kRflags, 0, kWhole},   Name{"eflags", kRflags, 0, kLowHalf},
      Name{"EFLAGS", kRflags, 0, kLowHalf}, Name{"CR64", kCr0, 9, kWhole},
      Name{"CR", kCr0, 9, kLowHalf},        Name{"S", kSelectors, 8, kWhole},
      Name{"S.base64", kBases, 8, kWhole},  Name{"S.base", kBases, 8, kLowHalf},
      Name{"S.limit", kLimits, 8, kWhole},  Name{"GDTR", kTables, 3, kWhole},
      Name{"IDTR", kTables + 3, 3, kWhole}};
  return std::span(names);
}();

void X86Draft::set(std::size_t index, std::uint64_t value, unsigned rank) {
  Slot& slot = slots_.at(index);
  if (rank > slot.rank) slot = {value, rank};
}

bool X86Draft::add_numbered(const Tag& tag, std::uint64_t value) {
  const auto name =
      std::find_if(kNames.begin(), kNames.end(), [&](const Name& n) { return n.name == tag.name; });
  if (name == kNames.end()) return false;
  const std::size_t number = name->count == 0 ? 0 : tag.indices[1];
  if (tag.index_count != (name->count == 0 ? 1 : 2) || (name->count != 0 && number >= name->count))
    return false;
  set(name->first + number, value, name->rank);
  return true;
}

void X86Draft::add(const Checkpoint& checkpoint, const Tag& tag) {
  if (const auto value = checkpoint.number(tag); value && add_numbered(tag, *value)) return;
  if (tag.index_count != 1) return;
  const bool packed = (tag.name == "gpregs" && tag.memory_size == kGeneralSize) ||
                      (tag.name == "CR64" && tag.memory_size == kControlSize) ||
                      ((tag.name == "GDTR" || tag.name == "IDTR") && tag.memory_size == kTableSize);
  if (packed) add_packed(tag.name, checkpoint.bytes(tag, kGeneralSize));
}

void X86Draft::add_packed(std::string_view name, std::span<const std::byte> bytes) {
  const auto u64 = [&](std::size_t at) {
    return load<std::uint64_t>(bytes.subspan(at), std::endian::little);
  };
  if (name == "gpregs" && bytes.size() == kGeneralSize) {
    for (std::size_t i = 0; i < 16; ++i) {
      if (i != 4 && i != 5) set(kRax + i, u64(8 * i), kPacked);
    }
    packed_stack_ = {u64(32), u64(40)};
    packed_stack_known_ = true;
  } else if (name == "CR64" && bytes.size() == kControlSize) {
    for (std::size_t i = 0; i < 9; ++i) set(kCr0 + i, u64(8 * i), kPacked);
  } else if (bytes.size() == kTableSize) {
    const std::size_t first = name == "GDTR" ? kTables : kTables + 3;
    const std::uint64_t base = u64(2);
    set(first, load<std::uint16_t>(bytes, std::endian::little), kPacked);
    set(first + 1, base & 0xffffffff, kPacked);
    set(first + 2, base >> 32, kPacked);
  }
}

int X86Draft::packed_order() const {
  if (!packed_stack_known_) return 0;
  const auto [fifth, sixth] = packed_stack_;
  if (can_be_stack(fifth) != can_be_stack(sixth)) return can_be_stack(sixth) ? 1 : -1;
  if (!can_be_stack(fifth)) return 0;
  // A frame pointer lies a little above the stack pointer.
  constexpr std::uint64_t kLargestFrame = 64 * 1024;
  if (fifth > sixth && fifth - sixth < kLargestFrame) return 1;
  if (sixth > fifth && sixth - fifth < kLargestFrame) return -1;
  return 0;
}

X86Segment X86Draft::segment(std::size_t number) const {
  return {.selector = static_cast<std::uint32_t>(slots_[kSelectors + number].value & kSelectorMask),
          .limit = static_cast<std::uint32_t>(slots_[kLimits + number].value),
          .base = slots_[kBases + number].value};
}

X86Segment X86Draft::table(std::size_t number) const {
  const std::size_t first = kTables + 3 * number;
  const std::uint64_t low = slots_[first + 1].value & 0xffffffff;
  return {.limit = static_cast<std::uint32_t>(slots_[first].value & 0xffff),
          .base = low | slots_[first + 2].value << 32};
}

X86Registers X86Draft::registers(bool crash_order) const {
  const auto value = [&](std::size_t index) { return slots_[index].value; };
  const auto of_stack = [&](std::size_t index, std::size_t packed) {
    const bool own_tag = !packed_stack_known_ || slots_[index].rank > kPacked;
    return own_tag ? value(index) : packed_stack_.at(packed);
  };
  X86Registers r;
  r.rax = value(kRax), r.rcx = value(kRcx), r.rdx = value(kRdx), r.rbx = value(kRbx);
  r.rbp = of_stack(kRbp, crash_order ? 0 : 1), r.rsp = of_stack(kRsp, crash_order ? 1 : 0);
  r.rsi = value(kRsi), r.rdi = value(kRdi);
  for (std::size_t i = 0; i < r.r8_to_r15.size(); ++i) r.r8_to_r15[i] = value(kR8 + i);
  r.rip = value(kRip), r.rflags = value(kRflags);
  r.es = segment(0), r.cs = segment(1), r.ss = segment(2), r.ds = segment(3);
  r.fs = segment(4), r.gs = segment(5), r.ldt = segment(6), r.tr = segment(7);
  r.gdt = table(0), r.idt = table(1);
  r.cr0 = value(kCr0), r.cr2 = value(kCr0 + 2), r.cr3 = value(kCr0 + 3), r.cr4 = value(kCr0 + 4);
  return r;
}

}  // namespace vmconvert::vmware
