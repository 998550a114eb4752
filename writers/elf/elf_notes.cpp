#include "elf/elf_notes.h"

#include <string_view>
#include <type_traits>
#include <variant>

#include "elf/cpu_notes.h"

namespace vmconvert::elf {
namespace {

constexpr std::string_view kVmcoreinfoName = "VMCOREINFO";

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

std::vector<std::byte> make_notes(const GuestImage& image) {
  NoteList notes(image.byte_order);
  bool has_vmcoreinfo = !image.vmcoreinfo;
  for (const Note& note : image.notes) {
    if (image.vmcoreinfo && note.name == kVmcoreinfoName) {
      if (text_of(note.desc) != image.vmcoreinfo->text) continue;  // the user has a better one
      has_vmcoreinfo = true;
    }
    notes.add(note.name, note.type, note.desc);
  }
  if (image.notes.empty()) add_vcpus(notes, image);
  if (!has_vmcoreinfo)
    notes.add(kVmcoreinfoName, 0, std::as_bytes(std::span(image.vmcoreinfo->text)));
  return std::move(notes).take();
}

}  // namespace vmconvert::elf
