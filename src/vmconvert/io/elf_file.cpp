#include "vmconvert/io/elf_file.h"

#include <algorithm>
#include <array>

#include "vmconvert/base/packed.h"

namespace vmconvert {
namespace {

constexpr std::size_t kEhdr32 = 52, kEhdr64 = 64, kPhdr32 = 32, kPhdr64 = 56;
constexpr std::size_t kShdr64 = 64, kShdr32 = 40;
constexpr std::uint16_t kPnXnum = 0xffff;
constexpr std::uint64_t kMostSegments = std::uint64_t{1}
                                        << 21;  // QEMU's dumps of page tables have 10^5
constexpr std::uint64_t kNoteAlignment = 4, kNoteHeader = 12;
constexpr std::uint32_t kLongestName = 256;  // "VMCOREINFO" is the longest seen
constexpr std::size_t kMostNotes = std::size_t{1} << 20;

std::size_t phdr_size(const ElfHeader& header) { return header.is_64 ? kPhdr64 : kPhdr32; }

/// Fields one after the other, in the file's byte order, from bytes that are known to be enough.
class Fields {
 public:
  Fields(std::span<const std::byte> bytes, const ElfHeader& header)
      : bytes_(bytes), header_(header) {}
  std::uint16_t half() { return next<std::uint16_t>(); }
  std::uint32_t word() { return next<std::uint32_t>(); }
  /// An address, offset or size: 4 or 8 bytes by the file's class.
  std::uint64_t native() { return header_.is_64 ? next<std::uint64_t>() : word(); }

 private:
  template <class T>
  T next() {
    const T value = load<T>(bytes_, header_.order);
    bytes_ = bytes_.subspan(sizeof(T));
    return value;
  }
  std::span<const std::byte> bytes_;
  const ElfHeader& header_;
};

ElfSegment parse_segment(std::span<const std::byte> bytes, const ElfHeader& header) {
  Fields fields(bytes, header);
  ElfSegment s;
  s.p_type = fields.word();
  if (header.is_64) s.p_flags = fields.word();
  s.p_offset = fields.native();
  s.p_vaddr = fields.native();
  s.p_paddr = fields.native();
  s.p_filesz = fields.native();
  s.p_memsz = fields.native();
  if (!header.is_64) s.p_flags = fields.word();
  s.p_align = fields.native();
  return s;
}

FileRange whole(const ByteSource& source) { return FileRange::sized({0}, source.size()); }

}  // namespace

std::optional<ElfHeader> peek_elf_header(std::span<const std::byte> head) {
  constexpr std::array kMagic{std::byte{0x7f}, std::byte{'E'}, std::byte{'L'}, std::byte{'F'}};
  if (head.size() < kEhdr32 || !std::equal(kMagic.begin(), kMagic.end(), head.begin()))
    return std::nullopt;
  const auto ei_class = std::to_integer<unsigned>(head[4]);
  const auto ei_data = std::to_integer<unsigned>(head[5]);
  const auto ei_version = std::to_integer<unsigned>(head[6]);
  if (ei_class < 1 || ei_class > 2 || ei_data < 1 || ei_data > 2 || ei_version != 1)
    return std::nullopt;
  ElfHeader h;
  h.is_64 = ei_class == 2;
  h.order = ei_data == 2 ? std::endian::big : std::endian::little;
  if (head.size() < (h.is_64 ? kEhdr64 : kEhdr32)) return std::nullopt;
  Fields fields(head.subspan(16), h);
  h.e_type = fields.half();
  h.e_machine = fields.half();
  fields.word();    // e_version
  fields.native();  // e_entry
  h.e_phoff = fields.native();
  h.e_shoff = fields.native();
  h.e_flags = fields.word();
  fields.half();  // e_ehsize: QEMU 7.2 and later write nonsense
  h.e_phentsize = fields.half();
  h.e_phnum = fields.half();
  h.e_shentsize = fields.half();
  h.e_shnum = fields.half();
  h.e_shstrndx = fields.half();
  return h;
}

std::vector<ElfSegment> peek_elf_segments(std::span<const std::byte> head,
                                          const ElfHeader& header) {
  std::vector<ElfSegment> segments;
  const std::size_t size = phdr_size(header);
  if (header.e_phentsize != size || header.e_phoff > head.size()) return segments;
  head = head.subspan(static_cast<std::size_t>(header.e_phoff));
  for (std::size_t i = 0; i < header.e_phnum && head.size() >= size; ++i) {
    segments.push_back(parse_segment(head, header));
    head = head.subspan(size);
  }
  return segments;
}

ElfFile::ElfFile(const ByteSource& source) {
  std::array<std::byte, kEhdr64> head{};
  const auto present = std::span(head).first(std::min<std::uint64_t>(source.size(), head.size()));
  source.read_at({0}, present);
  const auto header = peek_elf_header(present);
  if (!header) throw Error(ErrorKind::corrupt, source.name(), 0, "is no ELF file");
  header_ = *header;
  const std::uint64_t phnum = read_phnum(source);
  if (phnum == 0) return;
  Cursor cursor(source, whole(source), header_.order);
  const std::size_t size = phdr_size(header_);
  if (header_.e_phentsize != size) {
    throw Error(ErrorKind::corrupt, source.name(), header_.is_64 ? 54 : 42,
                "e_phentsize is " + std::to_string(header_.e_phentsize) + " instead of " +
                    std::to_string(size));
  }
  cursor.seek({header_.e_phoff}, "e_phoff");
  if (phnum > cursor.remaining() / size) {
    cursor.fail("e_phnum", "is " + std::to_string(phnum) + ", more than the file can hold");
  }
  if (phnum > kMostSegments) {
    cursor.fail("e_phnum", "is " + std::to_string(phnum) + ", more than any core has",
                ErrorKind::unsupported);
  }
  segments_.reserve(static_cast<std::size_t>(phnum));
  std::array<std::byte, kPhdr64> bytes{};
  for (std::uint64_t i = 0; i < phnum; ++i) {
    const auto record = std::span(bytes).first(size);
    cursor.peek_bytes(record);
    cursor.take(size, "program header");
    segments_.push_back(parse_segment(record, header_));
  }
}

/// e_phnum, or what section 0 says if that is too small a field.
std::uint64_t ElfFile::read_phnum(const ByteSource& source) const {
  if (header_.e_phnum != kPnXnum || header_.e_shoff == 0) return header_.e_phnum;
  Cursor cursor(source, whole(source), header_.order);
  cursor.seek({header_.e_shoff}, "e_shoff");
  cursor.take(header_.is_64 ? kShdr64 - 20 : kShdr32 - 12, "section header");
  return cursor.read<std::uint32_t>("sh_info of section 0");
}

std::vector<ElfNote> read_elf_notes(const ByteSource& source, FileRange range, std::endian order,
                                    std::uint64_t most) {
  if (range.size() > most) {
    throw Error(
        ErrorKind::unsupported, source.name(), range.begin().value,
        "notes are " + std::to_string(range.size()) + " bytes, more than " + std::to_string(most));
  }
  std::vector<ElfNote> notes;
  Cursor cursor(source, range, order);
  const auto skip_padding = [&] {
    const std::uint64_t used = (cursor.position() - range.begin()) % kNoteAlignment;
    if (used != 0) cursor.take(std::min(kNoteAlignment - used, cursor.remaining()), "padding");
  };
  while (cursor.remaining() >= kNoteHeader) {
    ElfNote note;
    const auto namesz = cursor.read<std::uint32_t>("n_namesz");
    if (namesz > kLongestName) {
      cursor.fail("n_namesz", std::to_string(namesz) + " is longer than any name of a note");
    }
    const auto descsz = cursor.read<std::uint32_t>("n_descsz");
    note.type = cursor.read<std::uint32_t>("n_type");
    if (namesz == 0 && descsz == 0 && note.type == 0) continue;
    note.name = cursor.read_text(namesz, "note name");
    if (!note.name.empty() && note.name.back() == '\0') note.name.pop_back();
    skip_padding();
    note.desc = cursor.take(descsz, "note descriptor");
    skip_padding();
    notes.push_back(std::move(note));
    if (notes.size() > kMostNotes) {
      cursor.fail("n_type", "there are more notes than a guest can have", ErrorKind::unsupported);
    }
  }
  return notes;
}

std::vector<ElfNote> ElfFile::notes(const ByteSource& source) const {
  std::vector<ElfNote> notes;
  std::uint64_t left = elf::kLargestNotes;
  for (const ElfSegment& segment : segments_) {
    if (segment.p_type != elf::kNote) continue;
    Cursor cursor(source, whole(source), header_.order);
    cursor.seek({segment.p_offset}, "PT_NOTE");
    const FileRange range = cursor.take(segment.p_filesz, "PT_NOTE");
    const std::vector<ElfNote> more = read_elf_notes(source, range, header_.order, left);
    left -= range.size();
    notes.insert(notes.end(), more.begin(), more.end());
  }
  return notes;
}

}  // namespace vmconvert
