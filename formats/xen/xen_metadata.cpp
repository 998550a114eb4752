#include "xen/xen_metadata.h"

#include <algorithm>

#include "vmconvert/base/text.h"
#include "vmconvert/model/xen_resolve.h"

namespace vmconvert::xen {
namespace {

constexpr std::uint64_t k4GiB = std::uint64_t{1} << 32;

X86Registers* as_x86(Vcpu& vcpu) { return std::get_if<X86Registers>(&vcpu); }

/// A 64-bit kernel and its processes have stacks and code above 4 GiB.
bool is_narrow(const Vcpu& vcpu) {
  const auto* r = std::get_if<X86Registers>(&vcpu);
  return r != nullptr && (!r->long_mode || (r->rip < k4GiB && r->rsp < k4GiB));
}

}  // namespace

std::string guest_text(const XenFacts& xen) {
  if (xen.type == XenGuestType::arm) return "Arm guest";
  if (xen.type == XenGuestType::hvm) return "HVM or PVH guest";
  return xen.width == 4 ? "PV guest with 32-bit words" : "PV guest with 64-bit words";
}

void add_vcpu(VcpuContext context, const std::string& file, GuestImage& image,
              Diagnostics& diagnostics) {
  if (!context.xen.online) {
    const std::string number = std::to_string(image.vcpus.size());
    image.metadata.facts.push_back({"xen.vcpu-offline", number});
    diagnostics.decision(file, "vCPU " + number + " is offline: its registers are those of then");
  }
  image.vcpus.push_back(std::move(context.registers));
  if (image.xen->type == XenGuestType::pv) image.xen->vcpus.push_back(context.xen);
}

void set_arch(const std::string& file, bool known, const ReadOptions& options, GuestImage& image,
              Diagnostics& diagnostics) {
  const XenFacts& xen = *image.xen;
  if (xen.type == XenGuestType::arm) {
    image.arch = Arch::aarch64;
    known = true;
  } else if (xen.type == XenGuestType::pv) {
    image.arch = xen.width == 4 ? Arch::i386 : Arch::x86_64;
    known = true;
  } else {
    const bool narrow =
        !image.vcpus.empty() &&
        (known ? is_narrow(image.vcpus.front()) && !as_x86(image.vcpus.front())->long_mode
               : std::all_of(image.vcpus.begin(), image.vcpus.end(), is_narrow));
    image.arch = narrow ? Arch::i386 : Arch::x86_64;
  }
  if (options.machine &&
      (known || (options.machine->arch != Arch::i386 && options.machine->arch != Arch::x86_64))) {
    const GuestMachine machine{image.arch, std::endian::little};
    if (*options.machine != machine) {
      throw Error(ErrorKind::usage, file, std::nullopt,
                  "is of a guest of " + machine_name(machine) + ", not of " +
                      machine_name(*options.machine) + " as --arch says");
    }
  }
  if (known) return;
  if (options.machine) {
    image.arch = options.machine->arch;
  } else {
    diagnostics.decision(file, "guest of " + std::string(arch_name(image.arch)) +
                                   ", by where code and stacks of its vCPUs lie");
  }
  for (Vcpu& vcpu : image.vcpus) as_x86(vcpu)->long_mode = image.arch == Arch::x86_64;
}

void resolve_tables(const std::string& file, const ReadOptions& options, GuestImage& image,
                    Diagnostics& diagnostics) {
  if (image.xen->type != XenGuestType::pv || image.xen->tables != XenTables::machine) return;
  if (options.xen_layout == XenLayout::asis) {
    diagnostics.warn(file,
                     "the page tables of this PV guest are left as they are: they hold machine "
                     "frames, which nothing in the output translates");
    return;
  }
  if (!image.xen->p2m) {
    throw Error(
        ErrorKind::unsupported, file, std::nullopt,
        "holds no p2m to translate the page tables of this PV guest with; --xen-layout asis "
        "leaves them as they are");
  }
  image.metadata.facts.push_back({"xen.p2m", "in the core"});
  resolve_xen_tables(file, m2p_of(image), {}, image, diagnostics);
}

void add_guest_facts(GuestImage& image) {
  const XenFacts& xen = *image.xen;
  auto& facts = image.metadata.facts;
  image.metadata.machine = "Xen, " + guest_text(xen);
  if (xen.type != XenGuestType::pv) return;
  facts.push_back(
      {"xen.page-tables", xen.tables == XenTables::machine ? "machine frames" : "guest frames"});
}

void report_guest(const std::string& file, const GuestImage& image, Diagnostics& diagnostics) {
  diagnostics.decision(file, guest_text(*image.xen) + ", " + counted(image.vcpus.size(), "vCPU") +
                                 ", " + human_size(image.runs.total_bytes()) + " in " +
                                 counted(image.runs.runs().size(), "run"));
}

}  // namespace vmconvert::xen
