#include "qemu_core/process_memory.h"

#include <algorithm>

#include "vmconvert/base/packed.h"
#include "vmconvert/base/text.h"

namespace vmconvert::qemu_core {
namespace {

constexpr std::uint32_t kWritable = 2;  // PF_W

}  // namespace

ProcessMemory::ProcessMemory(const ByteSource& source, const ElfFile& elf)
    : source_(&source), order_(elf.header().order), slots_(kSlots) {
  const auto fail = [&](const ElfSegment& segment, std::string_view why) {
    throw Error(ErrorKind::corrupt, source.name(), std::nullopt,
                "the mapping at " + hex(segment.p_vaddr) + " " + std::string(why));
  };
  for (const ElfSegment& segment : elf.segments()) {
    if (segment.p_type != elf::kLoad || segment.p_memsz == 0) continue;
    const auto range = ProcessRange::try_sized({segment.p_vaddr}, segment.p_memsz);
    if (!range || !FileRange::try_sized({segment.p_offset}, segment.p_filesz)) {
      fail(segment, "reaches beyond 64 bits");
    }
    if (segment.p_filesz > segment.p_memsz)
      fail(segment, "is smaller than what the core has of it");
    const std::uint64_t left =
        segment.p_offset < source.size() ? source.size() - segment.p_offset : 0;
    Mapping mapping{.range = *range,
                    .at = {segment.p_offset},
                    .filesz = segment.p_filesz,
                    .stored = std::min(segment.p_filesz, left),
                    .writable = (segment.p_flags & kWritable) != 0};
    if (mapping.stored != mapping.filesz) {
      cut_off_ = true;
      mapping.stored -= mapping.stored % kPage;  // guest memory comes in whole pages
    }
    mappings_.push_back(mapping);
  }
  std::sort(mappings_.begin(), mappings_.end(),
            [](const Mapping& a, const Mapping& b) { return a.range.begin() < b.range.begin(); });
  for (std::size_t i = 1; i < mappings_.size(); ++i) {
    if (!mappings_[i].range.overlaps(mappings_[i - 1].range)) continue;
    throw Error(
        ErrorKind::corrupt, source.name(), std::nullopt,
        "the mapping at " + hex(mappings_[i].range.begin().value) + " overlaps the one before it");
  }
}

std::vector<Mapping>::const_iterator ProcessMemory::first_after(ProcessAddr at) const {
  return std::partition_point(mappings_.begin(), mappings_.end(),
                              [&](const Mapping& m) { return m.range.end() <= at; });
}

void ProcessMemory::read_cached(FileOffset at, std::span<std::byte> out) {
  while (!out.empty()) {
    const std::uint64_t page = at.value / kPage;
    const std::size_t skip = at.value % kPage;
    Slot& slot = slots_[page % kSlots];
    if (slot.page != page) {
      slot.page.reset();
      slot.bytes.resize(
          static_cast<std::size_t>(std::min<std::uint64_t>(kPage, source_->size() - page * kPage)));
      source_->read_at({page * kPage}, slot.bytes);
      slot.page = page;
    }
    const std::size_t n = std::min(out.size(), slot.bytes.size() - skip);
    std::copy_n(slot.bytes.begin() + static_cast<std::ptrdiff_t>(skip), n, out.begin());
    out = out.subspan(n);
    at = at + n;
  }
}

bool ProcessMemory::read(ProcessAddr at, std::span<std::byte> out) {
  const auto range = ProcessRange::try_sized(at, out.size());
  if (!range) return false;
  auto mapping = first_after(at);
  while (!out.empty()) {
    if (mapping == mappings_.end() || !mapping->range.contains(at)) return false;
    const std::uint64_t skip = at - mapping->range.begin();
    const std::uint64_t wanted = std::min(range->end(), mapping->range.end()) - at;
    if (skip > mapping->stored || wanted > mapping->stored - skip) return false;
    read_cached(mapping->at + skip, out.first(static_cast<std::size_t>(wanted)));
    out = out.subspan(static_cast<std::size_t>(wanted));
    at = at + wanted;
    ++mapping;
  }
  return true;
}

std::optional<std::string> ProcessMemory::text(ProcessAddr at, std::size_t most) {
  std::string text;
  while (text.size() < most) {
    std::byte byte{};
    if (!read(at, std::span(&byte, 1))) return std::nullopt;
    if (byte == std::byte{0}) return text;
    text.push_back(static_cast<char>(byte));
    const auto next = ProcessRange::try_sized(at, 1);
    if (!next) return std::nullopt;
    at = next->end();
  }
  return std::nullopt;
}

std::vector<MappedPart> ProcessMemory::parts(ProcessRange range) const {
  std::vector<MappedPart> parts;
  ProcessAddr at = range.begin();
  const auto add = [&](ProcessAddr end, const Mapping* mapping, bool stored) {
    end = std::min(end, range.end());
    if (at >= end) return;
    MappedPart part{ProcessRange::between(at, end), mapping, stored, {}};
    if (stored) part.at = mapping->at + (at - mapping->range.begin());
    parts.push_back(part);
    at = end;
  };
  for (auto m = first_after(at); m != mappings_.end() && m->range.begin() < range.end(); ++m) {
    add(m->range.begin(), nullptr, false);
    add(m->range.begin() + m->stored, &*m, true);
    add(m->range.end(), &*m, false);
  }
  add(range.end(), nullptr, false);
  return parts;
}

}  // namespace vmconvert::qemu_core
