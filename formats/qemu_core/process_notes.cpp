#include "qemu_core/process_notes.h"

#include <algorithm>
#include <limits>

#include "vmconvert/base/text.h"
#include "vmconvert/io/cursor.h"

namespace vmconvert::qemu_core {
namespace {

constexpr std::uint32_t kNtPrpsinfo = 3, kNtAuxv = 6, kNtFile = 0x46494c45;  // "FILE"
constexpr std::uint64_t kAtNull = 0, kAtEntry = 9;
// Linux does not write more than 4 MiB unless told to (fs.core_file_note_size_limit: 16 MiB).
constexpr std::uint64_t kLargestNote = std::uint64_t{16} << 20;
constexpr std::uint64_t kPsargsAt = 56, kPsargsSize = 80;  // of struct elf_prpsinfo, LP64

/// u64 count, u64 page size, count times {u64 begin, u64 end, u64 offset in pages}, then the paths.
void read_files(Cursor cursor, ProcessNotes& notes) {
  const auto count = cursor.read<std::uint64_t>("count of mapped files");
  const auto page = cursor.read<std::uint64_t>("page size of mapped files");
  if (count > cursor.remaining() / 24)
    cursor.fail("count of mapped files", "is more than the note can hold");
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto begin = cursor.read<std::uint64_t>("begin of a mapped file");
    const auto end = cursor.read<std::uint64_t>("end of a mapped file");
    const auto offset = cursor.read<std::uint64_t>("offset of a mapped file");
    if (end < begin) cursor.fail("mapped file", "ends before it begins");
    if (page != 0 && offset > std::numeric_limits<std::uint64_t>::max() / page)
      cursor.fail("offset of a mapped file", "is too large");
    notes.files.push_back({ProcessRange::between({begin}, {end}), offset * page, {}});
  }
  const std::string paths = cursor.read_text(cursor.remaining(), "paths of mapped files");
  std::size_t at = 0;
  for (MappedFile& file : notes.files) {
    const std::size_t nul = paths.find('\0', at);
    if (nul == std::string::npos) cursor.fail("paths of mapped files", "are fewer than the files");
    file.path = paths.substr(at, nul - at);
    at = nul + 1;
  }
  std::sort(notes.files.begin(), notes.files.end(), [](const MappedFile& a, const MappedFile& b) {
    return a.range.begin() < b.range.begin();
  });
  for (std::size_t i = 1; i < notes.files.size(); ++i) {
    if (notes.files[i].range.begin() < notes.files[i - 1].range.end())
      cursor.fail("mapped file", "overlaps another");
  }
  notes.has_files = true;
}

void read_auxv(Cursor cursor, ProcessNotes& notes) {
  while (cursor.remaining() >= 16) {
    const auto type = cursor.read<std::uint64_t>("a_type");
    const auto value = cursor.read<std::uint64_t>("a_val");
    if (type == kAtNull) break;
    if (type == kAtEntry) notes.entry = ProcessAddr{value};
  }
}

void read_psinfo(Cursor cursor, ProcessNotes& notes) {
  if (cursor.remaining() < kPsargsAt + kPsargsSize) return;
  cursor.take(kPsargsAt, "prpsinfo");
  std::string text = cursor.read_text(kPsargsSize, "pr_psargs");
  text.erase(std::min(text.find('\0'), text.size()));
  text.erase(text.find_last_not_of(' ') + 1);
  notes.command = text;
}

}  // namespace

std::string_view base_name(std::string_view path) {
  constexpr std::string_view kDeleted = " (deleted)";
  if (path.ends_with(kDeleted)) path.remove_suffix(kDeleted.size());
  const auto slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

const MappedFile* ProcessNotes::find_file(ProcessRange range) const {
  const auto first = std::partition_point(files.begin(), files.end(), [&](const MappedFile& file) {
    return file.range.end() <= range.begin();
  });
  return first != files.end() && first->range.overlaps(range) ? &*first : nullptr;
}

const MappedFile* ProcessNotes::qemu() const {
  for (const MappedFile& file : files) {
    const std::string_view name = base_name(file.path);
    const bool is_qemu = name.starts_with("qemu-system-") || name == "qemu-kvm" || name == "kvm";
    if (is_qemu && file.offset == 0) return &file;
  }
  return nullptr;
}

ProcessNotes read_process_notes(const ByteSource& source, const ElfFile& elf, bool salvage,
                                Diagnostics& diagnostics) {
  ProcessNotes notes;
  for (const ElfSegment& segment : elf.segments()) {
    const bool whole =
        segment.p_offset <= source.size() && segment.p_filesz <= source.size() - segment.p_offset;
    if (segment.p_type == elf::kNote && !whole && salvage) {
      diagnostics.warn(source.name(), "the notes about the process are cut off, not used");
      return notes;
    }
  }
  for (const ElfNote& note : elf.notes(source)) {
    if (note.name != "CORE") continue;
    if (note.desc.size() > kLargestNote) {
      throw Error(ErrorKind::corrupt, source.name(), note.desc.begin().value,
                  "a note of " + human_size(note.desc.size()) + " is none of a process");
    }
    const Cursor cursor(source, note.desc, elf.header().order);
    if (note.type == kNtFile && !notes.has_files) read_files(cursor, notes);
    if (note.type == kNtAuxv) read_auxv(cursor, notes);
    if (note.type == kNtPrpsinfo) read_psinfo(cursor, notes);
  }
  return notes;
}

}  // namespace vmconvert::qemu_core
