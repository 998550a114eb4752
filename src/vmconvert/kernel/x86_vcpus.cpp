#include "vmconvert/kernel/x86_vcpus.h"

#include "vmconvert/base/packed.h"

namespace vmconvert {
namespace {

constexpr std::uint64_t kCr0Paging = std::uint64_t{1} << 31;

// In the note's descriptor: version, size; then registers, segments of 24 bytes with the base at
// 16, control registers. One that is shorter is of a version that nobody has seen.
constexpr std::uint32_t kNoteVersion = 1;
constexpr std::size_t kIdtBase = 368 + 16, kCr0 = 392, kCr3 = 416, kCr4 = 424, kShortest = 432;

void add(std::uint64_t cr0, X86Paging vcpu, std::vector<X86Paging>& to) {
  if ((cr0 & kCr0Paging) != 0) to.push_back(std::move(vcpu));
}

}  // namespace

std::vector<X86Paging> x86_vcpus(const GuestImage& image) {
  std::vector<X86Paging> result;
  for (std::size_t i = 0; i < image.vcpus.size(); ++i) {
    const auto* vcpu = std::get_if<X86Registers>(&image.vcpus[i]);
    if (vcpu == nullptr) continue;
    add(vcpu->cr0, {vcpu->cr3, vcpu->cr4, vcpu->idt.base, "CR3 of vCPU " + std::to_string(i)},
        result);
  }
  if (!image.vcpus.empty()) return result;
  std::size_t number = 0;
  for (const Note& note : image.notes) {
    if (note.name != "QEMU" || note.type != 0) continue;
    const std::string origin = "CR3 of QEMU note " + std::to_string(number++);
    const std::span<const std::byte> desc(note.desc);
    if (desc.size() < kShortest || load<std::uint32_t>(desc, image.byte_order) != kNoteVersion)
      continue;
    const auto word = [&](std::size_t at) {
      return load<std::uint64_t>(desc.subspan(at), image.byte_order);
    };
    add(word(kCr0), {word(kCr3), word(kCr4), word(kIdtBase), origin}, result);
  }
  return result;
}

}  // namespace vmconvert
