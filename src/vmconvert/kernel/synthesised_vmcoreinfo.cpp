#include "vmconvert/kernel/synthesised_vmcoreinfo.h"

#include "vmconvert/base/text.h"
#include "vmconvert/kernel/kernel_arch.h"

namespace vmconvert {
namespace {

std::string bare_hex(std::uint64_t value) { return hex(value).substr(2); }

std::string keyed(std::string_view kind, std::string_view name) {
  return std::string(kind) + '(' + std::string(name) + ')';
}

}  // namespace

SynthesisedVmcoreinfo::SynthesisedVmcoreinfo(const Vmlinux& vmlinux, std::uint64_t offset,
                                             std::string_view release, std::uint64_t page_size)
    : vmlinux_(vmlinux), offset_(offset) {
  add_line("OSRELEASE", release);
  add_line("PAGESIZE", std::to_string(page_size));
}

void SynthesisedVmcoreinfo::add_symbol(std::string_view key,
                                       std::initializer_list<std::string_view> names) {
  if (const auto symbol = first_symbol(vmlinux_, names))
    add_line(keyed("SYMBOL", key), bare_hex(*symbol + offset_));
}

void SynthesisedVmcoreinfo::add_number(std::string_view key, std::int64_t value) {
  add_line(keyed("NUMBER", key), std::to_string(value));
}

void SynthesisedVmcoreinfo::add_hex_number(std::string_view key, std::uint64_t value) {
  add_line(keyed("NUMBER", key), hex(value));
}

std::string SynthesisedVmcoreinfo::finish() && {
  add_line("KERNELOFFSET", bare_hex(offset_));
  add_line("VMCONVERT", "synthesised from page tables and the symbols of the kernel's file");
  return std::move(text_);
}

void SynthesisedVmcoreinfo::add_line(std::string_view key, std::string_view value) {
  text_.append(key).append("=").append(value).append("\n");
}

}  // namespace vmconvert
