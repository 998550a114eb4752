#include "vmconvert/kernel/find_kernel.h"

#include <algorithm>

#include "vmconvert/base/text.h"
#include "vmconvert/io/input.h"
#include "vmconvert/kernel/given_back.h"
#include "vmconvert/kernel/kallsyms.h"
#include "vmconvert/kernel/kernel_arch.h"
#include "vmconvert/kernel/memory_scan.h"
#include "vmconvert/kernel/vmcoreinfo_note.h"
#include "vmconvert/kernel/vmlinux.h"
#include "vmconvert/model/machine.h"

namespace vmconvert {
namespace {

/// True if what was found through page tables and what VMCOREINFO says are the same.
bool agrees(const KernelFacts& facts, const Vmcoreinfo& info) {
  const auto phys_base = info.number("phys_base");
  const auto text = info.symbol("_stext");
  const bool elsewhere =
      text && !facts.image.empty() &&
      (*text < facts.image.front().at.value ||
       *text > facts.image.back().at.value + (facts.image.back().guest.size() - 1));
  return info.value("OSRELEASE") == facts.release && !elsewhere &&
         (!phys_base || !facts.phys_base || *phys_base == facts.phys_base->value);
}

class Finder {
 public:
  Finder(GuestImage& image, const KernelArch& arch, const KernelOptions& options,
         Diagnostics& diagnostics)
      : image_(image), arch_(&arch), options_(options), diagnostics_(diagnostics) {}

  std::optional<FoundKernel> run() {
    std::optional<Vmcoreinfo> given = image_.vmcoreinfo;
    if (!given && options_.scan != Scan::none) given = read_announced();
    if (!options_.vmcoreinfo.empty()) given = read_vmcoreinfo_file();
    if (!options_.vmlinux.empty()) vmlinux_ = read_vmlinux(options_.vmlinux);
    auto found = find_from_vcpus();
    if (!found && given) found = find_by(*given);
    if (!found && vmlinux_) found = find_by_vmlinux();
    if (!found && options_.scan == Scan::memory && may_be_linux()) found = find_by_scan();
    if (!found) {
      decide("no running Linux kernel found by its page tables");
      if (vmlinux_)
        diagnostics_.warn(name(), "no kernel is found in memory that " + quoted(vmlinux_->file) +
                                      " could be compared with");
      image_.vmcoreinfo = std::move(given);
      return std::nullopt;
    }
    check_vmlinux(*found);
    choose_vmcoreinfo(std::move(given), *found);
    refine(*found);
    image_.kernel = found->facts;
    report();
    return found;
  }

 private:
  const std::string& name() const { return image_.sources.front()->name(); }
  void decide(const std::string& text) { diagnostics_.decision(name(), text); }

  Vmcoreinfo read_vmcoreinfo_file() const {
    constexpr std::uint64_t kLargest = 1 << 20;
    const Input input = Input::open(options_.vmcoreinfo, false, diagnostics_);
    const ByteSource& source = *input.source();
    std::vector<std::byte> bytes(
        static_cast<std::size_t>(std::min<std::uint64_t>(source.size(), kLargest)));
    source.read_at({0}, bytes);
    const auto text = parse_vmcoreinfo(bytes, image_.byte_order);
    if (!text)
      throw Error(ErrorKind::usage, source.name(), std::nullopt, "is not a kernel's VMCOREINFO");
    return {*text, "file " + source.name()};
  }

  std::optional<FoundKernel> find_from_vcpus() const {
    for (const KernelRoot& root : arch_->roots_of_vcpus(image_)) {
      if (auto found = try_root(image_, *arch_, root)) return found;
    }
    return std::nullopt;
  }

  std::optional<FoundKernel> find_by(const Vmcoreinfo& info) const {
    for (const KernelRoot& root : arch_->roots_of_vmcoreinfo(image_, info)) {
      auto found = try_root(image_, *arch_, root);
      if (found && agrees(found->facts, info)) return found;
    }
    return std::nullopt;
  }

  /// An x86-64 vCPU's page tables always map the kernel, so that a guest whose do not runs another
  /// system: its memory need not be read a second time.
  bool may_be_linux() const { return image_.vcpus.empty() || image_.arch != Arch::x86_64; }

  /// A note that was left behind by another boot, or that is a nested guest's, names page tables
  /// that are not there any more, or not at that address.
  std::optional<FoundKernel> find_by_scan() {
    for (Vmcoreinfo& candidate : scan_for_vmcoreinfo(image_)) {
      auto found = find_by(candidate);
      if (!found) {
        decide("VMCOREINFO at " + candidate.origin + " is not of the running kernel");
        continue;
      }
      if (found->content.notes.empty()) found->content.notes.push_back(std::move(candidate));
      return found;
    }
    return std::nullopt;
  }

  std::optional<FoundKernel> find_by_vmlinux() const {
    const auto symbol = first_symbol(*vmlinux_, {"linux_banner"});
    if (!symbol || vmlinux_->banner.empty() || arch_->roots_of_vmlinux == nullptr)
      return std::nullopt;
    for (const GuestPhysAddr at : scan_for_text(image_, vmlinux_->banner, *symbol)) {
      for (const KernelRoot& root : arch_->roots_of_vmlinux(*vmlinux_, at)) {
        auto found = try_root(image_, *arch_, root);
        if (found && found->facts.banner == vmlinux_->banner) return found;
      }
    }
    return std::nullopt;
  }

  /// s390x kernels leave the address of their VMCOREINFO at a fixed place.
  std::optional<Vmcoreinfo> read_announced() const {
    if (arch_->announced_vmcoreinfo == nullptr) return std::nullopt;
    const auto at = arch_->announced_vmcoreinfo(image_);
    return at ? read_vmcoreinfo(image_, *at, "which the kernel announces") : std::nullopt;
  }

  void check_vmlinux(const FoundKernel& found) const {
    if (!vmlinux_) return;
    const auto machine = machine_by_elf(true, image_.byte_order, vmlinux_->machine);
    if (!machine || machine->arch != image_.arch)
      throw Error(ErrorKind::usage, vmlinux_->file, std::nullopt, "is of another architecture");
    // A file may have symbols but no content of its own.
    if (vmlinux_->banner.empty() ? offset_in_guest(found, *vmlinux_).has_value()
                                 : vmlinux_->banner == found.facts.banner)
      return;
    throw Error(ErrorKind::usage, vmlinux_->file, std::nullopt,
                "is of another kernel: it says " + quoted(vmlinux_->banner) + ", the guest runs " +
                    quoted(found.facts.banner));
  }

  /// The user's word, else what the hypervisor was told, unless that is of another kernel, else
  /// what the kernel's image points to.
  void choose_vmcoreinfo(std::optional<Vmcoreinfo> given, FoundKernel& found) {
    const bool has_own = options_.scan != Scan::none && !found.content.notes.empty();
    const bool of_another = given && options_.vmcoreinfo.empty() && !agrees(found.facts, *given);
    if (given && !(of_another && has_own)) {
      image_.vmcoreinfo = std::move(given);
    } else if (has_own) {
      if (of_another)
        diagnostics_.warn(name(), "VMCOREINFO (" + given->origin +
                                      ") is of another kernel than the running one, and not used");
      image_.vmcoreinfo = std::move(found.content.notes.front());
    } else if (vmlinux_ && arch_->synthesise_vmcoreinfo != nullptr) {
      if (const auto offset = offset_in_guest(found, *vmlinux_)) {
        image_.vmcoreinfo = {arch_->synthesise_vmcoreinfo(found, *vmlinux_, *offset),
                             "synthesised from " + vmlinux_->file};
      }
    }
  }

  /// What VMCOREINFO says of itself is exact where the page tables leave room.
  void refine(FoundKernel& found) {
    if (!image_.vmcoreinfo) return;
    KernelFacts& facts = found.facts;
    const Vmcoreinfo& info = *image_.vmcoreinfo;
    if (!agrees(facts, info)) {
      diagnostics_.warn(name(), "VMCOREINFO (" + info.origin +
                                    ") does not describe the kernel that the page tables map, " +
                                    printable(facts.release));
      return;
    }
    if (const auto offset = info.hex_value("KERNELOFFSET"))
      facts.kaslr_offset = {*offset, "VMCOREINFO"};
    take_out_given_back(found, info);
  }

  /// The kernel's own file tells of an older kernel what its memory does not.
  void take_out_given_back(FoundKernel& found, const Vmcoreinfo& info) {
    SymbolValues symbols = read_kallsyms(found.tables, info, symbols_of(arch_->given_back));
    const auto offset =
        vmlinux_ && symbols.empty() ? offset_in_guest(found, *vmlinux_) : std::nullopt;
    if (offset) {
      for (const auto& [name, value] : vmlinux_->symbols) symbols[name] = value + *offset;
    }
    const std::uint64_t bytes =
        take_out(arch_->given_back, symbols, found.tables, info, found.facts);
    if (bytes != 0)
      decide(human_size(bytes) + " of the kernel's image given back to its page allocator (" +
             (offset ? "symbols of " + vmlinux_->file : "kallsyms") + ")");
  }

  void report() {
    const KernelFacts& facts = image_.kernel;
    decide("kernel " + printable(facts.release) + ", found through " + facts.page_tables->origin);
    if (facts.phys_base)
      decide("phys_base " + signed_hex(facts.phys_base->value) + " (" + facts.phys_base->origin +
             ")");
    if (facts.kaslr_offset)
      decide("KASLR offset " + hex(facts.kaslr_offset->value) + " (" + facts.kaslr_offset->origin +
             ")");
    if (facts.page_offset)
      decide("direct map at " + hex(facts.page_offset->value) + " (" + facts.page_offset->origin +
             ")");
    if (image_.vmcoreinfo)
      decide("VMCOREINFO of " + counted(image_.vmcoreinfo->text.size(), "byte") + " (" +
             image_.vmcoreinfo->origin + ")");
  }

  GuestImage& image_;
  const KernelArch* arch_;
  const KernelOptions& options_;
  Diagnostics& diagnostics_;
  std::optional<Vmlinux> vmlinux_;
};

}  // namespace

std::optional<FoundKernel> find_kernel(GuestImage& image, const KernelOptions& options,
                                       Diagnostics& diagnostics) {
  const KernelArch* arch = find_kernel_arch(image.arch);
  if (arch == nullptr || image.sources.empty()) return std::nullopt;
  return Finder(image, *arch, options, diagnostics).run();
}

}  // namespace vmconvert
