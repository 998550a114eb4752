#pragma once

#include <string>

#include "vmconvert/base/diagnostics.h"
#include "vmconvert/model/format.h"
#include "vmconvert/model/guest_image.h"
#include "xen/vcpu_context.h"

namespace vmconvert::xen {

/// "PV guest with 64-bit words", "HVM or PVH guest", "Arm guest".
std::string guest_text(const XenFacts& xen);

/// Appends a vCPU; an offline one is kept, and told as a fact and a decision.
void add_vcpu(VcpuContext context, const std::string& file, GuestImage& image,
              Diagnostics& diagnostics);

/// Sets the architecture of an image whose `xen` and `vcpus` are complete. What a PV guest is, its
/// container tells; of the others, registers do: `--arch` has the last word if `known` is false.
/// @param known  the registers tell for sure whether they are of a 64-bit kernel
/// @throws Error(usage) if `options` says something else than what is known
void set_arch(const std::string& file, bool known, const ReadOptions& options, GuestImage& image,
              Diagnostics& diagnostics);

/// Makes the page tables of a PV guest whose container has machine frames hold pfns, unless
/// `options` wants them as they are. @throws as resolve_xen_tables() does
void resolve_tables(const std::string& file, const ReadOptions& options, GuestImage& image,
                    Diagnostics& diagnostics);

/// Adds what every container tells: kind of guest, what its page tables hold, machine name.
void add_guest_facts(GuestImage& image);

/// Tells what a guest was found to be.
void report_guest(const std::string& file, const GuestImage& image, Diagnostics& diagnostics);

}  // namespace vmconvert::xen
