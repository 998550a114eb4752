#include "elf/elf_notes.h"

#include <string_view>
#include <type_traits>
#include <variant>

#include "elf/cpu_notes.h"

namespace vmconvert::elf {
namespace {

constexpr std::string_view kVmcoreinfoName = "VMCOREINFO";

constexpr std::uint64_t kPageShift = 12;
constexpr std::string_view kXenName = "Xen";
constexpr std::uint32_t kXenCrashInfo = 0x1000001;

/// Truth: Xen 4.17, xen/include/public/elfnote.h, XEN_ELFNOTE_CRASH_INFO, and struct crash_xen_info
/// of xen/include/xen/elfcore.h. crash 8.0.2 takes the last word as the root of the p2m, and the
/// presence of the one before it as that the hypervisor lies where that says.
struct XenCrashInfo {
  le64 major, minor;              //  0
  le64 extra_version, changeset;  // 16  addresses of texts in the hypervisor: not there
  le64 compiler, compile_date, compile_time;
  le64 tainted;              // 56
  le64 xen_phys_start;       // 64
  le64 p2m_frame_list_list;  // 72
};
static_assert(sizeof(XenCrashInfo) == 80);

/// Ours: memory of the vmcore that is none of the guest's, so that nobody takes it for that.
constexpr std::string_view kOwnName = "VMCONVERT";
constexpr std::uint32_t kOwnXenP2m = 1;
struct OwnXenP2m {
  le64 begin, size;  ///< of the p2m: physical address, bytes
};

void add_vcpus(NoteList& notes, const GuestImage& image) {
  for (std::uint32_t i = 0; i < image.vcpus.size(); ++i) {
    const auto add = [&](const auto& registers) {
      if constexpr (!std::is_same_v<std::decay_t<decltype(registers)>, X86Registers>) {
        add_cpu_notes(notes, registers, i);
      } else if (image.arch == Arch::i386) {
        add_prstatus_i386(notes, registers, i);
      } else {
        add_prstatus_x86_64(notes, registers, i);
      }
    };
    std::visit(add, image.vcpus[i]);
  }
  for (const Vcpu& vcpu : image.vcpus) {
    if (const auto* x86 = std::get_if<X86Registers>(&vcpu)) add_qemu_note(notes, *x86);
  }
}

/// What VMCOREINFO says: some producers count the zero behind the text, and any padding.
std::string_view text_of(const std::vector<std::byte>& desc) {
  const std::string_view text(reinterpret_cast<const char*>(desc.data()), desc.size());
  return text.substr(0, text.find('\0'));
}

}  // namespace

void NoteList::add(std::string_view name, std::uint32_t type, std::span<const std::byte> desc) {
  with_layout(order_, [&]<class L>(L) {
    append(bytes_, typename L::Nhdr{.n_namesz = static_cast<std::uint32_t>(name.size() + 1),
                                    .n_descsz = checked_cast<std::uint32_t>(desc.size()),
                                    .n_type = type});
  });
  bytes_.insert(bytes_.end(), std::as_bytes(std::span(name)).begin(),
                std::as_bytes(std::span(name)).end());
  bytes_.push_back(std::byte{0});
  append_padded({});
  append_padded(desc);
}

void NoteList::append_padded(std::span<const std::byte> part) {
  bytes_.insert(bytes_.end(), part.begin(), part.end());
  bytes_.resize(align_up(bytes_.size(), kNoteAlignment));
}

std::vector<std::byte> make_notes(const GuestImage& image, std::optional<GuestRange> xen_p2m) {
  NoteList notes(image.byte_order);
  bool has_vmcoreinfo = !image.vmcoreinfo;
  for (const Note& note : image.notes) {
    if (xen_p2m && note.name == kXenName && note.type == kXenCrashInfo) continue;
    if (image.vmcoreinfo && note.name == kVmcoreinfoName) {
      if (text_of(note.desc) != image.vmcoreinfo->text) continue;  // the user has a better one
      has_vmcoreinfo = true;
    }
    notes.add(note.name, note.type, note.desc);
  }
  if (image.notes.empty()) add_vcpus(notes, image);
  if (!has_vmcoreinfo)
    notes.add(kVmcoreinfoName, 0, std::as_bytes(std::span(image.vmcoreinfo->text)));
  if (xen_p2m) {
    notes.add_record(kOwnName, kOwnXenP2m, OwnXenP2m{xen_p2m->begin().value, xen_p2m->size()});
    notes.add_record(kXenName, kXenCrashInfo,
                     XenCrashInfo{.major = image.xen->major,
                                  .minor = image.xen->minor,
                                  .p2m_frame_list_list = xen_p2m->begin().value >> kPageShift});
  }
  return std::move(notes).take();
}

}  // namespace vmconvert::elf
