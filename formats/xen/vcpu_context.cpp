#include "xen/vcpu_context.h"

#include "vmconvert/base/packed.h"
#include "xen/xen_format.h"

namespace vmconvert::xen {
namespace {

// Truth: Xen 4.17, xen/include/public/arch-x86/xen-x86_64.h, xen-x86_32.h, xen.h; arch-arm.h.

struct Byte {
  std::byte value{};
};

/// A selector in its slot of 8 or 4 bytes.
template <std::size_t Padding>
struct Selector {
  le16 value;
  Byte padding[Padding];
};

struct Context64 {
  Byte fpu[512];                                        //    0
  le64 flags;                                           //  512
  le64 r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8;  //  520
  le64 rax, rcx, rdx, rsi, rdi;                         //  600
  le32 error_code, entry_vector;                        //  640
  le64 rip;                                             //  648
  le16 cs;                                              //  656
  Byte pad_and_mask[6];                                 //  658
  le64 rflags, rsp;                                     //  664
  Selector<6> ss, es, ds, fs, gs;                       //  680
  Byte trap_ctxt[4096];                                 //  720
  le64 ldt_base, ldt_ents;                              // 4816
  le64 gdt_frames[16], gdt_ents;                        // 4832
  le64 kernel_ss, kernel_sp;                            // 4968
  le64 ctrlreg[8], debugreg[8];                         // 4984
  le64 callbacks[3], vm_assist;                         // 5112
  le64 fs_base, gs_base_kernel, gs_base_user;           // 5144
};
static_assert(sizeof(Context64) == kContext64);

struct Context32 {
  Byte fpu[512];                              //    0
  le32 flags;                                 //  512
  le32 ebx, ecx, edx, esi, edi, ebp, eax;     //  516
  le16 error_code, entry_vector;              //  544
  le32 eip;                                   //  548
  le16 cs;                                    //  552
  Byte mask_and_pad[2];                       //  554
  le32 eflags, esp;                           //  556
  Selector<2> ss, es, ds, fs, gs;             //  564
  Byte trap_ctxt[2048];                       //  584
  le32 ldt_base, ldt_ents;                    // 2632
  le32 gdt_frames[16], gdt_ents;              // 2640
  le32 kernel_ss, kernel_sp;                  // 2708
  le32 ctrlreg[8], debugreg[8];               // 2716
  le32 event_cs, event_eip;                   // 2780
  le32 failsafe_cs, failsafe_eip, vm_assist;  // 2788
};
static_assert(sizeof(Context32) == kContext32);

struct ContextArm {
  le32 flags, pad;                  //   0
  le64 x[31];                       //   8
  le64 pc, cpsr;                    // 256
  le64 spsr_el1;                    // 272
  le32 spsr_banked[4];              // 280
  le64 sp_el0, sp_el1, elr_el1;     // 296
  le64 sctlr, ttbcr, ttbr0, ttbr1;  // 320
};
static_assert(sizeof(ContextArm) == kContextArm);

constexpr std::uint64_t kInKernel = 1U << 2, kOnline = 1U << 5;  // VGCF_in_kernel, VGCF_online
constexpr std::uint64_t kArmOnline = 1;
constexpr std::uint32_t kPrivilege = 3;
constexpr std::uint64_t kFrameMask = 0x000ffffffffff000;

template <class T>
T read_record(const ByteSource& source, FileOffset at) {
  static_assert(alignof(T) == 1);
  T record;
  source.read_at(at, std::as_writable_bytes(std::span(&record, 1)));
  return record;
}

/// CS or SS of a PV guest as its kernel sees it.
X86Segment pv_selector(std::uint32_t selector, bool in_kernel) {
  return {.selector = in_kernel ? selector & ~kPrivilege : selector};
}

VcpuContext read_64(const Context64& c, XenGuestType type, XenTables tables) {
  VcpuContext result;
  X86Registers r;
  const bool pv = type == XenGuestType::pv;
  XenVcpu& xen = result.xen;
  xen.online = (c.flags & kOnline) != 0;
  xen.in_kernel = pv ? (c.flags & kInKernel) != 0 : (c.cs & kPrivilege) == 0;
  r.rax = c.rax, r.rbx = c.rbx, r.rcx = c.rcx, r.rdx = c.rdx;
  r.rsi = c.rsi, r.rdi = c.rdi, r.rbp = c.rbp, r.rsp = c.rsp;
  r.r8_to_r15 = {c.r8, c.r9, c.r10, c.r11, c.r12, c.r13, c.r14, c.r15};
  r.rip = c.rip, r.rflags = c.rflags;
  r.cs = pv_selector(c.cs, pv && xen.in_kernel);
  r.ss = pv_selector(c.ss.value, pv && xen.in_kernel);
  r.ds.selector = c.ds.value, r.es.selector = c.es.value;
  r.fs = {.selector = c.fs.value, .base = c.fs_base};
  r.gs = {.selector = c.gs.value, .base = xen.in_kernel ? c.gs_base_kernel : c.gs_base_user};
  r.kernel_gs_base = xen.in_kernel ? c.gs_base_user : c.gs_base_kernel;
  r.cr0 = c.ctrlreg[0], r.cr2 = c.ctrlreg[2], r.cr3 = c.ctrlreg[3], r.cr4 = c.ctrlreg[4];
  if (pv) {
    xen.root = (c.ctrlreg[3] & kFrameMask) >> kPageShift;
    // A saver sets bit 0 of the one that it translated.
    const bool any = tables == XenTables::machine || (c.ctrlreg[1] & 1) != 0;
    if (any) xen.user_root = (c.ctrlreg[1] & kFrameMask) >> kPageShift;
  }
  result.registers = r;
  return result;
}

VcpuContext read_32(const Context32& c) {
  VcpuContext result;
  X86Registers r;
  XenVcpu& xen = result.xen;
  xen.online = (c.flags & kOnline) != 0;
  xen.in_kernel = (c.flags & kInKernel) != 0;
  r.rax = c.eax, r.rbx = c.ebx, r.rcx = c.ecx, r.rdx = c.edx;
  r.rsi = c.esi, r.rdi = c.edi, r.rbp = c.ebp, r.rsp = c.esp;
  r.rip = c.eip, r.rflags = c.eflags;
  r.cs = pv_selector(c.cs, xen.in_kernel), r.ss = pv_selector(c.ss.value, xen.in_kernel);
  r.ds.selector = c.ds.value, r.es.selector = c.es.value;
  r.fs.selector = c.fs.value, r.gs.selector = c.gs.value;
  r.cr0 = c.ctrlreg[0], r.cr2 = c.ctrlreg[2], r.cr4 = c.ctrlreg[4];
  const std::uint32_t cr3 = c.ctrlreg[3];
  xen.root = (cr3 >> 12) | (cr3 << 20);
  r.cr3 = xen.root << kPageShift;
  r.long_mode = false;
  result.registers = r;
  return result;
}

}  // namespace

VcpuContext read_x86_context(const ByteSource& source, FileOffset at, XenGuestType type,
                             unsigned width, XenTables tables) {
  if (type == XenGuestType::pv && width == 4) return read_32(read_record<Context32>(source, at));
  return read_64(read_record<Context64>(source, at), type, tables);
}

std::optional<VcpuContext> read_arm_context(const ByteSource& source, FileOffset at) {
  // cpsr, as in SPSR_EL2: bit 4 says AArch32; the low four bits are 0 in EL0, and bit 0 of them
  // says which stack pointer EL1 uses.
  constexpr std::uint64_t kAarch32 = 1U << 4, kMode = 0xf, kOwnStack = 1;
  const auto c = read_record<ContextArm>(source, at);
  if ((c.cpsr & kAarch32) != 0) return std::nullopt;
  VcpuContext result;
  Aarch64Registers r;
  for (std::size_t i = 0; i < r.x.size(); ++i) r.x[i] = c.x[i];
  r.pc = c.pc, r.pstate = c.cpsr;
  r.sp = (c.cpsr & kOwnStack) != 0 ? c.sp_el1 : c.sp_el0;
  r.el1 = Aarch64Registers::System{
      .ttbr0 = c.ttbr0, .ttbr1 = c.ttbr1, .tcr = c.ttbcr, .sctlr = c.sctlr};
  result.xen.online = (c.flags & kArmOnline) != 0;
  result.xen.in_kernel = (c.cpsr & kMode) != 0;
  result.registers = r;
  return result;
}

}  // namespace vmconvert::xen
