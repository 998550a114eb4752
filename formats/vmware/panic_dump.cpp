#include "vmware/panic_dump.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>

#include "vmconvert/base/text.h"
#include "vmconvert/io/cursor.h"

namespace vmconvert::vmware {
namespace {

// Truth: crash, vmware_guestdump.c, development version of 2026; docs/formats/vmware.md.
// Little-endian.
struct Version {
  std::uint32_t number;
  std::uint64_t record_at;  ///< of the record of main memory
  std::uint64_t states_at;  ///< of the vCPUs' states; version 1: without what its holes add
  std::uint64_t gap;        ///< bytes in a state between control registers and the others
};
constexpr std::array kVersions{Version{1, 21, 61, 45}, Version{3, 22, 78, 45},
                               Version{4, 22, 78, 42}, Version{5, 22, 78, 42},
                               Version{6, 23, 79, 42}, Version{7, 16, 83, 42}};
constexpr std::uint64_t kPage = 4096, kUnknownPerVcpu = 4096;
constexpr std::uint64_t kControlSize = 116, kGeneralSize = 233;
constexpr std::uint64_t kMostPages = std::uint64_t{1} << 40;
constexpr std::uint32_t kMostVcpus = 8192, kMostHoles = 2;
constexpr std::uint64_t kHoleOfVersion1 = 8;
constexpr std::uint64_t kArchAt = 72;  // version 7
constexpr std::uint32_t kArchArm = 0;

struct Hole {
  std::uint64_t first = 0, pages = 0;
};

struct Header {
  const Version* version = nullptr;
  std::uint32_t vcpus = 0;
  std::uint64_t last = 0;   ///< last guest address
  std::uint64_t pages = 0;  ///< of memory
  std::vector<Hole> holes;
  std::uint64_t states_at() const {
    return version->states_at + (version->number == 1 ? kHoleOfVersion1 * holes.size() : 0);
  }
  std::uint64_t state_size() const { return kControlSize + version->gap + kGeneralSize; }
};

/// @throws Error(corrupt, unsupported)
Header read_header(Cursor& cursor) {
  Header header;
  const auto number = cursor.read<std::uint32_t>("version");
  const auto version = std::find_if(kVersions.begin(), kVersions.end(),
                                    [&](const Version& v) { return v.number == number; });
  if (version == kVersions.end())
    cursor.fail("version", std::to_string(number) + " is not known", ErrorKind::unsupported);
  header.version = &*version;
  header.vcpus = cursor.read<std::uint32_t>("number of vCPUs");
  if (header.vcpus == 0 || header.vcpus > kMostVcpus)
    cursor.fail("number of vCPUs", "is " + std::to_string(header.vcpus));
  if (number == 7) {
    cursor.seek({kArchAt}, "architecture");
    if (cursor.read<std::uint32_t>("architecture") == kArchArm)
      cursor.fail("architecture", "is ARM64, which is not supported", ErrorKind::unsupported);
  }
  cursor.seek({version->record_at}, "memory record");
  const bool wide = number != 1;
  const auto word = [&](std::string_view field) {
    return wide ? cursor.read<std::uint64_t>(field) : cursor.read<std::uint32_t>(field);
  };
  header.last = cursor.read<std::uint64_t>("last address");
  header.pages = word("number of pages");
  cursor.read<std::uint32_t>("unknown");
  const auto holes = cursor.read<std::uint32_t>("number of holes");
  if (holes > kMostHoles) cursor.fail("number of holes", "is " + std::to_string(holes));
  for (std::uint32_t i = 0; i < holes; ++i) {
    const auto first = word("first page of a hole");
    header.holes.push_back({first, word("pages of a hole")});
  }
  return header;
}

/// Adds up what is checked in several places: pages with holes.
std::optional<std::uint64_t> all_pages(const Header& header) {
  std::uint64_t pages = header.pages;
  if (pages == 0 || pages > kMostPages) return std::nullopt;
  for (const Hole& hole : header.holes) {
    if (hole.first > kMostPages || hole.pages > kMostPages) return std::nullopt;
    pages += hole.pages;
  }
  return pages;
}

/// What is wrong with the numbers; empty if they agree.
std::string contradiction(const Header& header, std::uint64_t file_size) {
  const auto pages = all_pages(header);
  if (!pages || header.last != *pages * kPage - 1) {
    return "last address " + hex(header.last) + " does not fit " + counted(header.pages, "page") +
           " and " + counted(header.holes.size(), "hole");
  }
  const std::uint64_t wanted =
      header.states_at() + header.vcpus * (header.state_size() + kUnknownPerVcpu);
  if (file_size != wanted) {
    return "has " + std::to_string(file_size) + " bytes, with " + counted(header.vcpus, "vCPU") +
           " it would have " + std::to_string(wanted);
  }
  std::uint64_t end = 0;
  for (const Hole& hole : header.holes) {
    if (hole.first < end || hole.first + hole.pages > *pages)
      return "hole at page " + hex(hole.first) + " is not where one can be";
    end = hole.first + hole.pages;
  }
  return "";
}

std::vector<Placement> place(const Header& header) {
  std::vector<Placement> placements;
  std::uint64_t guest = 0, packed = 0;
  const auto add = [&](std::uint64_t end) {
    if (end > guest)
      placements.push_back({GuestRange::between({guest * kPage}, {end * kPage}), packed * kPage});
    packed += end - guest;
  };
  for (const Hole& hole : header.holes) {
    add(hole.first);
    guest = hole.first + hole.pages;
  }
  add(guest + (header.pages - packed));
  return placements;
}

X86Registers read_state(const ByteSource& file, FileOffset at, const Header& header) {
  Cursor cursor(file, FileRange::sized(at, header.state_size()), std::endian::little);
  const auto next = [&] { return cursor.read<std::uint64_t>("register"); };
  X86Registers r;
  r.cr0 = cursor.read<std::uint32_t>("cr0");
  r.cr2 = next(), r.cr3 = next(), r.cr4 = next();
  cursor.take(10 * 8, "unknown registers");
  r.idt.base = next();
  cursor.take(header.version->gap, "unknown");
  auto& n = r.r8_to_r15;
  n[7] = next(), n[6] = next(), n[5] = next(), n[4] = next();
  r.rbp = next(), r.rbx = next();
  n[3] = next(), n[2] = next(), n[1] = next(), n[0] = next();
  r.rax = next(), r.rcx = next(), r.rdx = next(), r.rsi = next(), r.rdi = next();
  next();  // orig_rax
  const auto selector = [&] { return static_cast<std::uint32_t>(next() & 0xffff); };
  r.rip = next(), r.cs.selector = selector(), r.rflags = next();
  r.rsp = next(), r.ss.selector = selector();
  r.fs.base = next(), r.gs.base = next();
  r.ds.selector = selector(), r.es.selector = selector();
  r.fs.selector = selector(), r.gs.selector = selector();
  return r;
}

/// Protection and paging are on, and the instruction pointer is one.
bool is_plausible(const X86Registers& r) {
  constexpr std::uint64_t kOn = 0x80000001;
  const std::uint64_t top = r.rip >> 47;
  return (r.cr0 & kOn) == kOn && (top == 0 || top == 0x1ffff);
}

std::vector<X86Registers> read_states(const ByteSource& file, const Header& header,
                                      std::uint64_t distance) {
  std::vector<X86Registers> states;
  for (std::uint32_t i = 0; i < header.vcpus; ++i)
    states.push_back(read_state(file, {header.states_at() + i * distance}, header));
  return states;
}

}  // namespace

bool is_panic_dump(std::span<const std::byte> head, std::uint64_t size) {
  try {
    const MemorySource source(
        "", {head.begin(),
             head.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(head.size(), 128))});
    Cursor cursor(source, FileRange::sized({0}, source.size()), std::endian::little);
    return contradiction(read_header(cursor), size).empty();
  } catch (const Error&) {
    return false;
  }
}

PanicDump read_panic_dump(const ByteSource& file, Diagnostics& diagnostics) {
  Cursor cursor(file, FileRange::sized({0}, file.size()), std::endian::little);
  const Header header = read_header(cursor);
  const std::string why = contradiction(header, file.size());
  if (!why.empty()) throw Error(ErrorKind::corrupt, file.name(), std::nullopt, why);
  PanicDump dump{.version = header.version->number, .memory_size = header.pages * kPage};
  dump.placements = place(header);
  // crash's comment puts the unknown bytes of a vCPU behind its state, its code behind all states.
  const std::uint64_t close = header.state_size();
  const auto together = read_states(file, header, close);
  const auto apart = read_states(file, header, close + kUnknownPerVcpu);
  const auto plausible = [](const std::vector<X86Registers>& states) {
    return std::count_if(states.begin(), states.end(), is_plausible);
  };
  const bool take_apart = plausible(apart) > plausible(together);
  dump.vcpus = take_apart ? apart : together;
  diagnostics.decision(file.name(), "panic dump of version " + std::to_string(dump.version) +
                                        ", registers of " + counted(dump.vcpus.size(), "vCPU"));
  if (take_apart)
    diagnostics.decision(file.name(), "states of vCPUs lie apart, as only then they make sense");
  return dump;
}

}  // namespace vmconvert::vmware
