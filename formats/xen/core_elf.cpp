#include "xen/core_elf.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "vmconvert/base/text.h"
#include "xen/xen_format.h"

namespace vmconvert::xen {
namespace {

// Truth: Xen 4.17, docs/misc/dump-core-format.txt and tools/libs/ctrl/xc_core.h. Section headers:
// System V ABI, chapter 4.
constexpr std::uint64_t kShdr32 = 40, kShdr64 = 64;
constexpr std::uint16_t kNamesInSection0 = 0xffff;  // SHN_XINDEX
constexpr std::uint32_t kNoBits = 8;                // SHT_NOBITS
constexpr std::uint64_t kMostSections = 4096;       // seven are usual
constexpr std::uint64_t kLongestName = 64;

constexpr std::string_view kNoteName = "Xen";
constexpr std::uint32_t kNoteNone = 0x2000000, kNoteHeader = 0x2000001, kNoteVersion = 0x2000002,
                        kNoteFormat = 0x2000003;
constexpr std::uint64_t kMagicPv = 0xf00febed, kMagicHvm = 0xf00febee;
constexpr std::uint64_t kFormatVersion = 1;  // major in the upper half, minor in the lower
constexpr std::uint64_t kLargestNotes = 1 << 20;

/// Section headers one after the other.
class SectionTable {
 public:
  SectionTable(const ByteSource& source, const ElfHeader& header)
      : source_(source), header_(header), cursor_(source, whole(source), header.order) {}

  std::vector<CoreSection> read() {
    if (header_.e_shoff == 0) return {};
    const std::uint64_t entry = header_.is_64 ? kShdr64 : kShdr32;
    if (header_.e_shentsize != entry) {
      throw Error(ErrorKind::corrupt, source_.name(), header_.is_64 ? 58 : 46,
                  "e_shentsize is " + std::to_string(header_.e_shentsize) + " instead of " +
                      std::to_string(entry));
    }
    cursor_.seek({header_.e_shoff}, "e_shoff");
    const Header first = read_header();
    const std::uint64_t count = header_.e_shnum == 0 ? first.size : header_.e_shnum;
    const std::uint64_t names =
        header_.e_shstrndx == kNamesInSection0 ? first.link : header_.e_shstrndx;
    if (count > kMostSections) {
      cursor_.fail("e_shnum", "is " + std::to_string(count) + ", more than a dump-core has",
                   ErrorKind::unsupported);
    }
    if (names >= count) cursor_.fail("e_shstrndx", "is of no section");
    std::vector<Header> headers;
    for (std::uint64_t i = 1; i < count; ++i) headers.push_back(read_header());
    if (names == 0) cursor_.fail("e_shstrndx", "is of no section");
    const FileRange strings =
        range_of(headers[static_cast<std::size_t>(names - 1)], "section names");
    std::vector<CoreSection> sections;
    for (const Header& one : headers) {
      std::string name = name_at(strings, one.name);
      const FileRange range =
          one.type == kNoBits ? FileRange() : range_of(one, "section " + quoted(name));
      sections.push_back({std::move(name), one.type, range, one.entsize});
    }
    return sections;
  }

 private:
  struct Header {
    std::uint32_t name = 0, type = 0, link = 0;
    std::uint64_t offset = 0, size = 0, entsize = 0;
  };

  static FileRange whole(const ByteSource& source) { return FileRange::sized({0}, source.size()); }

  std::uint64_t native(std::string_view field) {
    return header_.is_64 ? cursor_.read<std::uint64_t>(field) : cursor_.read<std::uint32_t>(field);
  }

  Header read_header() {
    Header h;
    h.name = cursor_.read<std::uint32_t>("sh_name");
    h.type = cursor_.read<std::uint32_t>("sh_type");
    native("sh_flags");
    native("sh_addr");
    h.offset = native("sh_offset");
    h.size = native("sh_size");
    h.link = cursor_.read<std::uint32_t>("sh_link");
    cursor_.read<std::uint32_t>("sh_info");
    native("sh_addralign");
    h.entsize = native("sh_entsize");
    return h;
  }

  FileRange range_of(const Header& header, const std::string& what) const {
    const auto range = FileRange::try_sized({header.offset}, header.size);
    if (!range || range->end().value > source_.size()) {
      throw Error(
          ErrorKind::corrupt, source_.name(), header.offset,
          what + " of " + std::to_string(header.size) + " bytes reaches past the end of the file");
    }
    return *range;
  }

  std::string name_at(FileRange strings, std::uint32_t at) {
    Cursor cursor(source_, strings, header_.order);
    cursor.take(at, "sh_name");
    const std::uint64_t most = std::min(kLongestName, cursor.remaining());
    std::string name = cursor.read_text(most, "section name");
    const auto end = name.find('\0');
    if (end == std::string::npos) cursor.fail("section name", "has no end");
    name.resize(end);
    return name;
  }

  const ByteSource& source_;
  const ElfHeader& header_;
  Cursor cursor_;
};

/// Text of at most `size` bytes, up to its first NUL.
std::string text_at(const ByteSource& source, FileOffset at, std::uint64_t size) {
  std::string text(static_cast<std::size_t>(size), '\0');
  source.read_at(at, std::as_writable_bytes(std::span(text)));
  text.resize(std::min(text.find('\0'), text.size()));
  return text;
}

void add_fact(std::vector<Fact>& facts, std::string key, std::string value) {
  while (!value.empty() && value.back() == ' ') value.pop_back();
  if (!value.empty()) facts.push_back({std::move(key), std::move(value)});
}

/// struct xen_dumpcore_elfnote_xen_version_desc; what follows the changeset depends on the guest.
void add_version_facts(const ByteSource& source, FileRange desc, std::endian order,
                       CoreNotes& notes) {
  constexpr std::uint64_t kUsed = 1264;
  if (desc.size() < kUsed) return;
  Cursor cursor(source, desc, order);
  notes.major = cursor.read<std::uint64_t>("major version");
  notes.minor = cursor.read<std::uint64_t>("minor version");
  std::vector<Fact>& facts = notes.facts;
  const FileOffset at = desc.begin();
  add_fact(facts, "xen.version",
           std::to_string(notes.major) + "." + std::to_string(notes.minor) +
               text_at(source, at + 16, 16));
  add_fact(facts, "xen.compiler", text_at(source, at + 32, 64));
  add_fact(facts, "xen.compile-date", text_at(source, at + 144, 32));
  add_fact(facts, "xen.capabilities", text_at(source, at + 176, 1024));
  add_fact(facts, "xen.changeset", text_at(source, at + 1200, 64));
}

void read_header_note(Cursor cursor, CoreNotes& notes) {
  const auto magic = cursor.read<std::uint64_t>("xch_magic");
  if (magic != kMagicPv && magic != kMagicHvm)
    cursor.fail("xch_magic", hex(magic) + " is of no kind of guest that is known");
  notes.pv = magic == kMagicPv;
  notes.nr_vcpus = cursor.read<std::uint64_t>("xch_nr_vcpus");
  if (notes.nr_vcpus > kMostVcpus)
    cursor.fail("xch_nr_vcpus", "is " + std::to_string(notes.nr_vcpus) + ", more than a guest has");
  notes.nr_pages = cursor.read<std::uint64_t>("xch_nr_pages");
  const auto page_size = cursor.read<std::uint64_t>("xch_page_size");
  if (page_size != kPage) {
    cursor.fail("xch_page_size", "is " + std::to_string(page_size) + "; only 4096 is supported",
                ErrorKind::unsupported);
  }
}

}  // namespace

std::vector<CoreSection> read_core_sections(const ByteSource& source, const ElfHeader& header) {
  return SectionTable(source, header).read();
}

CoreNotes read_core_notes(const ByteSource& source, FileRange range, std::endian order) {
  CoreNotes result;
  bool has_header = false;
  for (const ElfNote& note : read_elf_notes(source, range, order, kLargestNotes)) {
    if (note.name != kNoteName) continue;
    Cursor cursor(source, note.desc, order);
    if (note.type == kNoteHeader) {
      read_header_note(cursor, result);
      has_header = true;
    } else if (note.type == kNoteVersion) {
      add_version_facts(source, note.desc, order, result);
    } else if (note.type == kNoteFormat) {
      const auto version = cursor.read<std::uint64_t>("format version");
      if (version != kFormatVersion)
        cursor.fail("format version", hex(version) + " is not known", ErrorKind::unsupported);
    }
  }
  if (!has_header) {
    throw Error(ErrorKind::corrupt, source.name(), range.begin().value,
                "no note tells the kind of guest");
  }
  return result;
}

bool is_core_note(std::span<const std::byte> head) {
  constexpr std::array kName{std::byte{'X'}, std::byte{'e'}, std::byte{'n'}, std::byte{0}};
  if (head.size() < 16 || load<std::uint32_t>(head, std::endian::little) != kName.size())
    return false;
  const auto type = load<std::uint32_t>(head.subspan(8), std::endian::little);
  return type >= kNoteNone && type <= kNoteFormat &&
         std::equal(kName.begin(), kName.end(), head.begin() + 12);
}

}  // namespace vmconvert::xen
