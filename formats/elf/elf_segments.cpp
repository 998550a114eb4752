#include "elf/elf_segments.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "vmconvert/base/text.h"

namespace vmconvert::elf_dump {
namespace {

constexpr std::uint32_t kPage = 4096;
// Processors address 56 bits of memory at the most; a larger image would never be done.
constexpr std::uint64_t kHighest = std::uint64_t{1} << 56;
constexpr std::size_t kCompareBuffer = 1 << 20;

/// Guest memory and where it lies in the file, the pieces that are sure so far.
class PlacedMemory {
 public:
  PlacedMemory(const ByteSource& source, bool salvage, Diagnostics& diagnostics)
      : source_(source),
        salvage_(salvage),
        diagnostics_(diagnostics),
        budget_(source.size() + kCompareBuffer) {}

  /// Adds guest memory whose bytes lie at `at`. What is there already stays; it has to be equal.
  void add(GuestRange guest, FileOffset at) {
    GuestPhysAddr gpa = guest.begin();
    auto next = pieces_.upper_bound(gpa);
    if (next != pieces_.begin() && std::prev(next)->second.guest.end() > gpa) --next;
    while (gpa < guest.end()) {
      if (next == pieces_.end() || next->first >= guest.end()) {
        insert(GuestRange::between(gpa, guest.end()), at + (gpa - guest.begin()));
        return;
      }
      const Piece piece = next->second;
      if (gpa < piece.guest.begin()) {
        insert(GuestRange::between(gpa, piece.guest.begin()), at + (gpa - guest.begin()));
        next = pieces_.upper_bound(gpa);  // the piece may have grown to the left
        gpa = piece.guest.begin();
        if (next != pieces_.begin() && std::prev(next)->second.guest.end() > gpa) --next;
        continue;
      }
      const GuestRange both = piece.guest.intersection(GuestRange::between(gpa, guest.end()));
      require_equal(both, piece.at + (both.begin() - piece.guest.begin()),
                    at + (both.begin() - guest.begin()));
      gpa = both.end();
      ++next;
    }
  }

  RunList runs() const {
    RunListBuilder runs(kPage);
    for (const auto& [begin, piece] : pieces_) runs.add({piece.guest, InFile{0, kPage, piece.at}});
    return runs.finish();
  }

 private:
  struct Piece {
    GuestRange guest;
    FileOffset at;
  };

  static bool continues(const Piece& a, const Piece& b) {
    return a.guest.end() == b.guest.begin() && a.at + a.guest.size() == b.at;
  }

  /// A piece that overlaps no other; grows its neighbours where it can, so that a paging dump with
  /// a segment for each page stays a few pieces.
  void insert(GuestRange guest, FileOffset at) {
    Piece piece{guest, at};
    auto after = pieces_.lower_bound(guest.begin());
    if (after != pieces_.end() && continues(piece, after->second)) {
      piece.guest = GuestRange::between(piece.guest.begin(), after->second.guest.end());
      after = pieces_.erase(after);
    }
    if (after != pieces_.begin()) {
      Piece& before = std::prev(after)->second;
      if (continues(before, piece)) {
        before.guest = GuestRange::between(before.guest.begin(), piece.guest.end());
        return;
      }
    }
    pieces_.emplace_hint(after, piece.guest.begin(), piece);
  }

  void require_equal(GuestRange guest, FileOffset first, FileOffset second) {
    if (first == second) return;
    // Segments of an honest file do not share bytes unless they show them at the same gpa, so all
    // comparisons together are at most as long as the file. Counted in pages: each costs a read.
    const std::uint64_t cost = std::max<std::uint64_t>(guest.size(), kPage);
    if (cost > budget_) {
      throw Error(ErrorKind::corrupt, source_.name(), second.value,
                  "PT_LOADs show the same bytes at different guest addresses too often");
    }
    budget_ -= cost;
    if (equal_bytes(first, second, guest.size())) return;
    const std::string text = "guest memory " + hex(guest.begin().value) + "-" +
                             hex(guest.end().value) + " is in two PT_LOADs with different content";
    if (!salvage_) throw Error(ErrorKind::corrupt, source_.name(), second.value, text);
    diagnostics_.loss(source_.name(), second.value,
                      text + "; that at " + hex(first.value) + " is kept");
  }

  bool equal_bytes(FileOffset first, FileOffset second, std::uint64_t size) {
    std::vector<std::byte> a(std::min<std::uint64_t>(size, kCompareBuffer)), b(a.size());
    while (size != 0) {
      const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(size, a.size()));
      source_.read_at(first, std::span(a).first(n));
      source_.read_at(second, std::span(b).first(n));
      if (!std::equal(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(n), b.begin()))
        return false;
      first = first + n;
      second = second + n;
      size -= n;
    }
    return true;
  }

  const ByteSource& source_;
  bool salvage_;
  Diagnostics& diagnostics_;
  std::uint64_t budget_;                   ///< bytes that may still be compared
  std::map<GuestPhysAddr, Piece> pieces_;  ///< disjoint, by their begin
};

/// The bytes of a segment that are in the file, proven to be there.
std::uint64_t check_segment(const ByteSource& source, const ElfSegment& s, bool salvage,
                            Diagnostics& diagnostics) {
  const std::string what = "PT_LOAD of guest address " + hex(s.p_paddr) + ' ';
  const auto fail = [&](const std::string& why) {
    throw Error(ErrorKind::corrupt, source.name(), s.p_offset, what + why);
  };
  if (s.p_filesz > s.p_memsz) fail("has p_filesz larger than p_memsz");
  if (s.p_paddr > kHighest || s.p_memsz > kHighest - s.p_paddr)
    fail("ends above 2^56, the largest guest address there is");
  const auto stored = FileRange::try_sized({s.p_offset}, s.p_filesz);
  if (stored && stored->end().value <= source.size()) return s.p_filesz;
  const std::uint64_t left = s.p_offset < source.size() ? source.size() - s.p_offset : 0;
  const std::string text = "is cut off: " + std::to_string(s.p_filesz) + " bytes wanted, " +
                           std::to_string(left) + " left";
  if (!salvage) fail(text);
  diagnostics.loss(source.name(), s.p_offset, what + text);
  return left;
}

}  // namespace

RunList map_segments(const ByteSource& source, const ElfFile& file, bool salvage,
                     Diagnostics& diagnostics) {
  PlacedMemory memory(source, salvage, diagnostics);
  std::uint64_t absent = 0, nowhere = 0;
  // p_paddr and p_offset of what is not there
  const std::uint64_t none = file.header().is_64 ? ~std::uint64_t{0} : ~std::uint32_t{0};
  for (const ElfSegment& s : file.segments()) {
    if (s.p_type != elf::kLoad) continue;
    if (s.p_paddr == none) {
      ++nowhere;
    } else if (s.p_filesz == 0 || s.p_offset == none) {
      ++absent;
    } else {
      const std::uint64_t size = check_segment(source, s, salvage, diagnostics);
      memory.add(GuestRange::sized({s.p_paddr}, size), {s.p_offset});
      if (s.p_memsz > s.p_filesz) ++absent;
    }
  }
  if (nowhere != 0) {
    diagnostics.decision(source.name(),
                         counted(nowhere, "PT_LOAD") + " without a physical address, left out");
  }
  if (absent != 0) {
    diagnostics.warn(source.name(), counted(absent, "PT_LOAD") +
                                        " with p_memsz larger than p_filesz: what is not in the "
                                        "file may have been zero or filtered, and is left out");
  }
  return memory.runs();
}

}  // namespace vmconvert::elf_dump
