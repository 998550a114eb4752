#include "vmconvert/model/dump_notes.h"

#include <algorithm>

namespace vmconvert {
namespace {

constexpr std::uint32_t kNtPrstatus = 1;

std::string text_of(const std::vector<std::byte>& desc) {
  std::string text(reinterpret_cast<const char*>(desc.data()), desc.size());
  text.resize(std::min(text.size(), text.find('\0')));
  return text;
}

}  // namespace

void add_dump_notes(const ByteSource& source, const std::vector<ElfNote>& notes,
                    GuestImage& image) {
  std::uint64_t vcpus = 0;
  for (const ElfNote& note : notes) {
    Note kept{note.name, note.type, std::vector<std::byte>(note.desc.size())};
    source.read_at(note.desc.begin(), kept.desc);
    if (note.name == "CORE" && note.type == kNtPrstatus) ++vcpus;
    if (note.name == "VMCOREINFO" && !image.vmcoreinfo) {
      // A Windows guest puts a crash dump header here.
      std::string text = text_of(kept.desc);
      if (text.find('=') != std::string::npos) {
        image.vmcoreinfo = Vmcoreinfo{std::move(text), "note of the dump"};
      }
    }
    image.notes.push_back(std::move(kept));
  }
  image.metadata.facts.push_back({"dump.vcpus", std::to_string(vcpus)});
  if (!image.vmcoreinfo) return;
  if (const auto release = image.vmcoreinfo->value("OSRELEASE"))
    image.metadata.facts.push_back({"dump.release", std::string(*release)});
}

}  // namespace vmconvert
