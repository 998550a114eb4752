#include "support/described_state.h"

#include <algorithm>
#include <stdexcept>

namespace vmconvert::test {
namespace {

std::string quoted_json(std::string_view text) { return "\"" + std::string(text) + "\""; }

std::string object_of(std::string_view name, std::string_view type, unsigned size, unsigned count,
                      const std::string& rest = "") {
  return "{\"name\": " + quoted_json(name) + ", \"type\": " + quoted_json(type) +
         (count == 1 ? "" : ", \"array_len\": " + std::to_string(count)) +
         ", \"size\": " + std::to_string(size) + rest + "}";
}

}  // namespace

std::uint64_t DescribedState::next_value(unsigned size) {
  const std::uint64_t value = (seed_ + 1) * 0x1000000010001 + ++made_ * 0x30100000301;
  return size == 8 ? value : value & ((std::uint64_t{1} << (8 * size)) - 1);
}

void DescribedState::put(std::uint64_t value, unsigned size) {
  for (unsigned i = size; i-- > 0;) out_.u8(static_cast<unsigned>(value >> (8 * i) & 0xff));
}

void DescribedState::describe(const std::string& object) {
  std::string& list = subsections_.empty() ? fields_ : subsections_.back().fields;
  list += (list.empty() ? "" : ", ") + object;
}

DescribedState& DescribedState::field(std::string_view name, unsigned size, unsigned count) {
  std::vector<std::uint64_t> made;
  for (unsigned i = 0; i < count; ++i) made.push_back(next_value(size));
  return values(name, size, made);
}

DescribedState& DescribedState::values(std::string_view name, unsigned size,
                                       std::vector<std::uint64_t> values) {
  describe(object_of(name, "uint", size, static_cast<unsigned>(values.size())));
  for (const std::uint64_t value : values) {
    put(value, std::min(size, 8U));
    if (size == 16) put(~value, 8);
  }
  values_[prefix_ + std::string(name)] = std::move(values);
  return *this;
}

DescribedState& DescribedState::segments(std::string_view name, unsigned base_size,
                                         unsigned count) {
  const std::pair<const char*, unsigned> members[] = {
      {"selector", 4}, {"base", base_size}, {"limit", 4}, {"flags", 4}};
  std::string described;
  for (const auto& [member, size] : members) {
    described += (described.empty() ? "" : ", ") + object_of(member, "uint", size, 1);
  }
  describe(object_of(name, "struct", 12 + base_size, count,
                     ", \"struct\": {\"vmsd_name\": \"segment\", \"version\": 1, \"fields\": [" +
                         described + "]}"));
  for (unsigned i = 0; i < count; ++i) {
    const std::string path =
        prefix_ + std::string(name) + (count == 1 ? "" : "[" + std::to_string(i) + "]");
    for (const auto& [member, size] : members) {
      const std::uint64_t value = next_value(size);
      put(value, size);
      values_[path + "/" + member] = {value};
    }
  }
  return *this;
}

DescribedState& DescribedState::subsection(std::string_view name) {
  out_.u8(0x05).counted_text(name).be32(1);
  subsections_.push_back({std::string(name), "", false});
  prefix_ = std::string(name) + "/";
  return *this;
}

DescribedState& DescribedState::nested_subsection(std::string_view name) {
  const std::string outer = prefix_;
  subsection(name);
  subsections_.back().nested = true;
  prefix_ = outer + prefix_;
  return *this;
}

std::uint64_t DescribedState::value(std::string_view path, std::size_t index) const {
  const auto found = values_.find(path);
  if (found == values_.end()) throw std::logic_error("no field " + std::string(path));
  return found->second.at(index);
}

DeviceOptions DescribedState::options(std::uint32_t instance, std::uint32_t version) const {
  std::string subsections;
  for (std::size_t i = 0; i < subsections_.size(); ++i) {
    const Subsection& sub = subsections_[i];
    const bool has_nested = i + 1 < subsections_.size() && subsections_[i + 1].nested;
    subsections += std::string(i == 0 || sub.nested ? "" : ", ") +
                   "{\"vmsd_name\": " + quoted_json(sub.name) + ", \"version\": 1, \"fields\": [" +
                   sub.fields + "]" +
                   (has_nested   ? ", \"subsections\": ["
                    : sub.nested ? "}]}"
                                 : "}");
  }
  return {.instance = instance,
          .version = version,
          .description = "\"fields\": [" + fields_ + "], \"subsections\": [" + subsections + "]"};
}

DescribedState aarch64_state(std::uint64_t seed, std::uint64_t pstate, std::uint64_t sctlr) {
  DescribedState state(seed);
  state.field("env.regs", 4, 16).field("env.xregs", 8, 32).field("env.pc", 8);
  state.values("cpsr", 4, {pstate}).field("env.spsr", 4).field("env.banked_spsr", 8, 8);
  state.field("env.banked_r13", 4, 8).field("env.banked_r14", 4, 8).field("env.usr_regs", 4, 5);
  state.field("env.fiq_regs", 4, 5).field("env.elr_el", 8, 4).field("env.sp_el", 8, 4);
  const std::vector<std::uint64_t> ids{0x4020000000120000, 0x603000000013c080, 0x603000000013c100,
                                       0x603000000013c101, 0x603000000013c102, 0x603000000013c510,
                                       0x603000000013c600, 0x603000000013c684};
  state.values("cpreg_vmstate_array_len", 4, {ids.size()});
  state.values("cpreg_vmstate_indexes", 8, ids);
  state.values("cpreg_vmstate_values", 8,
               {1, sctlr, seed + 2, seed + 3, seed + 4, seed + 5, seed + 6, seed + 7});
  state.field("env.exclusive_addr", 8).subsection("cpu/vfp");
  for (int i = 0; i < 32; ++i) state.field("env.vfp.zregs[" + std::to_string(i) + "].d", 8, 2);
  return state.values("fpscr", 4, {0xffffffff});
}

DescribedState s390x_state(std::uint64_t seed) {
  DescribedState state(seed);
  state.field("env.regs", 8, 16).field("env.psw.mask", 8).field("env.psw.addr", 8);
  state.field("env.psa", 8).field("env.todpr", 4).field("env.pfault_token", 8);
  state.field("env.pfault_compare", 8).field("env.pfault_select", 8).field("env.cputm", 8);
  state.field("env.ckc", 8).field("env.gbea", 8).field("env.pp", 8).field("env.aregs", 4, 16);
  state.field("env.cregs", 8, 16).field("env.cpu_state", 1).field("env.sigp_order", 1);
  state.values("irqstate_saved_size", 4, {0}).subsection("cpu/fpu");
  const auto vreg = [](int i, int half) {
    return "env.vregs[" + std::to_string(i) + "][" + std::to_string(half) + "]";
  };
  for (int i = 0; i < 16; ++i) state.field(vreg(i, 0), 8);
  state.field("env.fpc", 4).subsection("cpu/vregs");
  for (int i = 16; i < 32; ++i) state.field(vreg(i, 0), 8);
  for (int i = 0; i < 32; ++i) state.field(vreg(i, 1), 8);
  return state.subsection("cpu/gscb").field("env.gscb", 8, 4);
}

DescribedState ppc64_state(std::uint64_t seed, std::uint64_t lpcr) {
  std::vector<std::uint64_t> sprs(1024);
  for (std::size_t i = 0; i < sprs.size(); ++i) sprs[i] = seed * 0x100000000 + i;
  sprs[318] = lpcr;
  DescribedState state(seed);
  state.field("unused", 8).field("env.gpr", 8, 32);
  state.values("env.crf", 4, {1, 2, 3, 4, 5, 6, 7, 8 + seed}).field("env.nip", 8);
  state.values("env.spr", 8, sprs).field("env.spe_acc", 8).field("env.reserve_addr", 8);
  state.field("env.msr", 8).field("env.hflags_compat_nmsr", 8);
  state.subsection("cpu/fpu").field("env.vsr", 8, 32).field("env.fpscr", 8);
  state.subsection("cpu/altivec").values("env.vsr", 16, std::vector<std::uint64_t>(32, seed + 9));
  state.field("vscr", 4);
  return state.subsection("cpu/vsx").field("env.vsr", 8, 32);
}

DescribedState riscv64_state(std::uint64_t seed, unsigned register_size) {
  DescribedState state(seed);
  state.field("env.gpr", register_size, 32).field("env.fpr", 8, 32).field("env.pc", register_size);
  state.values("env.misa_mxl", 4, {register_size / 4}).field("env.priv", register_size);
  state.field("env.mstatus", 8).field("env.satp", register_size);
  return state.field("env.stvec", register_size).field("env.sscratch", register_size);
}

DescribedState x86_state(std::uint64_t seed, unsigned long_size, std::uint64_t hflags) {
  const bool wide = long_size == 8;
  DescribedState state(seed);
  state.field("env.regs", long_size, wide ? 16 : 8).field("env.eip", long_size);
  state.field("env.eflags", long_size).values("env.hflags", 4, {hflags});
  state.segments("env.segs", long_size, 6).segments("env.ldt", long_size);
  state.segments("env.tr", long_size).segments("env.gdt", long_size);
  state.segments("env.idt", long_size);
  for (const char* name : {"env.cr[0]", "env.cr[2]", "env.cr[3]", "env.cr[4]"}) {
    state.field(name, long_size);
  }
  if (wide) state.field("env.kernelgsbase", 8);
  return state;
}

}  // namespace vmconvert::test
