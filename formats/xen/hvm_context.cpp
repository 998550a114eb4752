#include "xen/hvm_context.h"

#include <array>
#include <map>
#include <string>
#include <string_view>

#include "vmconvert/base/packed.h"
#include "vmconvert/io/cursor.h"

namespace vmconvert::xen {
namespace {

// Truth: Xen 4.17, xen/include/public/hvm/save.h and arch-x86/hvm/save.h. Little-endian records of
//   u16 typecode, u16 instance, u32 length, then so many bytes; typecode 0 ends them
constexpr std::uint16_t kEnd = 0, kCpu = 2;
constexpr std::array<std::string_view, 21> kNames{
    "end",       "header",        "cpu",        "pic",
    "ioapic",    "lapic",         "lapic-regs", "pci-irq",
    "isa-irq",   "pci-link",      "pit",        "rtc",
    "hpet",      "pmtimer",       "mtrr",       "viridian-domain",
    "cpu-xsave", "viridian-vcpu", "vmce-vcpu",  "tsc-adjust",
    "cpu-msr"};
// A guest has one CPU, LAPIC, MTRR, ... record of each vCPU.
constexpr std::size_t kMostRecords = 200'000;

/// hvm_hw_cpu, as far as all versions have it: later ones end with tsc_aux and flags.
struct HvmCpu {
  std::byte fpu[512];                                     //    0
  le64 rax, rbx, rcx, rdx, rbp, rsi, rdi, rsp;            //  512
  le64 r8_to_r15[8];                                      //  576
  le64 rip, rflags;                                       //  640
  le64 cr0, cr2, cr3, cr4;                                //  656
  le64 dr[6];                                             //  688
  le32 cs_sel, ds_sel, es_sel, fs_sel, gs_sel, ss_sel;    //  736
  le32 tr_sel, ldtr_sel;                                  //  760
  le32 cs_limit, ds_limit, es_limit, fs_limit, gs_limit;  //  768
  le32 ss_limit, tr_limit, ldtr_limit, idtr_limit, gdtr_limit;
  le64 cs_base, ds_base, es_base, fs_base, gs_base;  //  808
  le64 ss_base, tr_base, ldtr_base, idtr_base, gdtr_base;
  le32 cs_ar, ds_ar, es_ar, fs_ar, gs_ar, ss_ar, tr_ar, ldtr_ar;  // 888
  le64 sysenter[3];                                               //  920
  le64 shadow_gs;                                                 //  944
  le64 msr_flags, lstar, star, cstar, sfmask, efer;               //  952
};
static_assert(sizeof(HvmCpu) == 1000);
constexpr std::uint64_t kSmallestCpu = 1016, kLargestCpu = 1032;
constexpr std::uint64_t kLongMode = 1U << 10;  // EFER.LMA

/// The access rights as bits 0 to 11, into where a descriptor's second dword has them.
std::uint32_t descriptor_flags(std::uint32_t rights) {
  return (rights & 0xff) << 8 | (rights & 0xf00) << 12;
}

X86Segment segment(std::uint32_t selector, std::uint32_t limit, std::uint64_t base,
                   std::uint32_t rights) {
  return {.selector = selector, .limit = limit, .flags = descriptor_flags(rights), .base = base};
}

X86Registers registers_of(const HvmCpu& c) {
  X86Registers r;
  r.rax = c.rax, r.rbx = c.rbx, r.rcx = c.rcx, r.rdx = c.rdx;
  r.rsi = c.rsi, r.rdi = c.rdi, r.rbp = c.rbp, r.rsp = c.rsp;
  for (std::size_t i = 0; i < r.r8_to_r15.size(); ++i) r.r8_to_r15[i] = c.r8_to_r15[i];
  r.rip = c.rip, r.rflags = c.rflags;
  r.cs = segment(c.cs_sel, c.cs_limit, c.cs_base, c.cs_ar);
  r.ds = segment(c.ds_sel, c.ds_limit, c.ds_base, c.ds_ar);
  r.es = segment(c.es_sel, c.es_limit, c.es_base, c.es_ar);
  r.fs = segment(c.fs_sel, c.fs_limit, c.fs_base, c.fs_ar);
  r.gs = segment(c.gs_sel, c.gs_limit, c.gs_base, c.gs_ar);
  r.ss = segment(c.ss_sel, c.ss_limit, c.ss_base, c.ss_ar);
  r.tr = segment(c.tr_sel, c.tr_limit, c.tr_base, c.tr_ar);
  r.ldt = segment(c.ldtr_sel, c.ldtr_limit, c.ldtr_base, c.ldtr_ar);
  r.gdt = segment(0, c.gdtr_limit, c.gdtr_base, 0);
  r.idt = segment(0, c.idtr_limit, c.idtr_base, 0);
  r.cr0 = c.cr0, r.cr2 = c.cr2, r.cr3 = c.cr3, r.cr4 = c.cr4;
  r.kernel_gs_base = c.shadow_gs;
  r.long_mode = (c.efer & kLongMode) != 0;
  return r;
}

}  // namespace

HvmContext read_hvm_context(const ByteSource& source, FileRange range) {
  HvmContext context;
  std::map<std::uint16_t, X86Registers> vcpus;
  Cursor cursor(source, range, std::endian::little);
  for (;;) {
    const auto type = cursor.read<std::uint16_t>("typecode of an HVM record");
    const auto instance = cursor.read<std::uint16_t>("instance of an HVM record");
    const auto length = cursor.read<std::uint32_t>("length of an HVM record");
    const FileRange body = cursor.take(length, "HVM record");
    if (type == kEnd) break;
    if (type == kCpu) {
      if (length < kSmallestCpu || length > kLargestCpu) {
        cursor.fail("CPU record", "has " + std::to_string(length) + " bytes, a layout not known",
                    ErrorKind::unsupported);
      }
      HvmCpu cpu;
      source.read_at(body.begin(), std::as_writable_bytes(std::span(&cpu, 1)));
      if (!vcpus.emplace(instance, registers_of(cpu)).second)
        cursor.fail("CPU record", "of vCPU " + std::to_string(instance) + " comes twice");
    }
    const std::string name =
        type < kNames.size() ? std::string(kNames[type]) : "hvm-record-" + std::to_string(type);
    context.devices.push_back({.name = name, .instance = instance, .size = length});
    if (context.devices.size() > kMostRecords)
      cursor.fail("HVM record", "is one of more than a guest can have", ErrorKind::unsupported);
  }
  for (const auto& [number, registers] : vcpus) context.vcpus.push_back(registers);
  return context;
}

}  // namespace vmconvert::xen
