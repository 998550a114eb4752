#include "qemu/qevm_stream.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <map>
#include <utility>

#include "qemu/live_sections.h"
#include "qemu/qevm_format.h"
#include "qemu/vmdescription.h"
#include "vmconvert/base/text.h"
#include "vmconvert/io/cursor.h"

namespace vmconvert::qemu {
namespace {

// Sanity of a section header, for the search of a section's end.
constexpr std::uint32_t kLargestSectionId = 100000;
constexpr std::uint32_t kLargestVersionId = 1000;
constexpr std::size_t kFooterSize = 5;
constexpr std::size_t kLongestIdstr = 255;

std::uint8_t byte_of(Element element) { return static_cast<std::uint8_t>(element); }

struct SectionHeader {
  std::uint32_t section_id = 0;
  std::string idstr;
  std::uint32_t instance_id = 0;
  std::uint32_t version_id = 0;
};

SectionHeader read_section_header(Cursor& cursor) {
  SectionHeader header;
  header.section_id = cursor.read<std::uint32_t>("section id");
  const auto size = cursor.read<std::uint8_t>("section name length");
  if (size == 0) cursor.fail("section name length", "is zero");
  header.idstr = cursor.read_text(size, "section name");
  header.instance_id = cursor.read<std::uint32_t>("section instance id");
  header.version_id = cursor.read<std::uint32_t>("section version");
  return header;
}

bool is_printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

/// Walks the elements of one stream.
class StreamParser {
 public:
  StreamParser(const ByteSource& source, FileRange window, Diagnostics& diagnostics)
      : source_(source),
        window_(window),
        cursor_(source, window, std::endian::big),
        diagnostics_(diagnostics) {}

  void parse() {
    read_header();
    while (read_element()) {
    }
  }

  /// Everything parsed so far.
  QevmStream take() {
    if (ram_) {
      ram_->read_mapped_pages(source_, diagnostics_);
      stream_.blocks = std::move(ram_->blocks());
      stream_.encoded = std::move(ram_->encoded());
    }
    return std::move(stream_);
  }
  bool has_blocks() { return ram_ && !ram_->blocks().empty(); }

 private:
  void read_header() {
    const auto magic = cursor_.read<std::uint32_t>("magic");
    if (magic == kMultifdMagic) {
      cursor_.fail("magic", "is that of one connection of a multifd migration, not of a save",
                   ErrorKind::unsupported);
    }
    if (magic != kMagic) cursor_.fail("magic", "is not \"QEVM\"");
    const auto version = cursor_.read<std::uint32_t>("version");
    if (version != kVersion) {
      cursor_.fail("version", "is " + std::to_string(version) + "; only 3 is known",
                   ErrorKind::unsupported);
    }
  }

  /// False at the end of the stream.
  bool read_element() {
    switch (const auto type = cursor_.read<std::uint8_t>("element type"); Element{type}) {
      case Element::configuration:
        read_configuration();
        return true;
      case Element::section_start:
        start_live_section();
        return true;
      case Element::section_part:
        continue_live_section(LivePhase::part);
        return true;
      case Element::section_end:
        continue_live_section(LivePhase::end);
        return true;
      case Element::section_full:
        return read_device_section();
      case Element::command:
        read_command();
        return true;
      case Element::eof:
        end_stream();
        return false;
      default:
        cursor_.fail("element type", hex(type) + " is unknown here");
    }
  }

  // --- configuration -----------------------------------------------------------------------------

  void read_configuration() {
    if (!stream_.machine.empty() || ram_) cursor_.fail("configuration", "does not come first");
    const auto size = cursor_.read<std::uint32_t>("machine type length");
    if (size == 0 || size > kLongestIdstr) cursor_.fail("machine type length", "is impossible");
    stream_.machine = cursor_.read_text(size, "machine type");
    while (cursor_.peek<std::uint8_t>() == byte_of(Element::subsection)) read_configuration_part();
  }

  void read_configuration_part() {
    cursor_.read<std::uint8_t>("subsection mark");
    const auto size = cursor_.read<std::uint8_t>("configuration subsection name length");
    const std::string name = cursor_.read_text(size, "configuration subsection name");
    cursor_.read<std::uint32_t>("configuration subsection version");
    if (name == "configuration/target-page-bits") {
      const auto bits = cursor_.read<std::uint32_t>("target page bits");
      if (bits < 10 || bits > 16) cursor_.fail("target page bits", "are not within 10 to 16");
      stream_.ram_format.page_size = std::uint32_t{1} << bits;
    } else if (name == "configuration/capabilities") {
      auto count = cursor_.read<std::uint32_t>("capability count");
      for (; count != 0; --count) {
        const auto length = cursor_.read<std::uint8_t>("capability name length");
        add_capability(cursor_.read_text(length, "capability name"));
      }
    } else if (name == "configuration/uuid") {
      stream_.uuid = cursor_.read_text(16, "machine UUID");
    } else {
      cursor_.fail("configuration subsection", quoted(name) + " is unknown",
                   ErrorKind::unsupported);
    }
  }

  void add_capability(std::string name) {
    if (name == "mapped-ram") stream_.ram_format.mapped_ram = true;
    if (name == "x-ignore-shared") stream_.ram_format.ignore_shared = true;
    if (stream_.capabilities.size() < kLongestIdstr)
      stream_.capabilities.push_back(std::move(name));
  }

  // --- live sections -----------------------------------------------------------------------------

  struct LiveHandler {
    std::string idstr;
    bool is_ram = false;
    SkipLivePayload skip = nullptr;  ///< nullptr: found by its footer
  };

  void start_live_section() {
    const SectionHeader header = read_section_header(cursor_);
    LiveHandler handler{header.idstr, header.idstr == "ram" && header.instance_id == 0,
                        find_live_section(header.idstr)};
    if (handler.is_ram) {
      if (ram_) cursor_.fail("section", "\"ram\" starts twice");
      if (header.version_id != 4) {
        cursor_.fail(
            "version",
            std::to_string(header.version_id) + " of section \"ram\" is not supported; only 4 is",
            ErrorKind::unsupported);
      }
      ram_.emplace(stream_.ram_format);
    }
    if (live_.size() == kMostSections) cursor_.fail("section", "is one too many");
    const auto [entry, is_new] = live_.emplace(header.section_id, std::move(handler));
    if (!is_new) cursor_.fail("section id", std::to_string(header.section_id) + " starts twice");
    read_live_payload(header.section_id, entry->second, LivePhase::start);
  }

  void continue_live_section(LivePhase phase) {
    const auto id = cursor_.read<std::uint32_t>("section id");
    const auto found = live_.find(id);
    if (found == live_.end()) cursor_.fail("section id", std::to_string(id) + " was never started");
    read_live_payload(id, found->second, phase);
    if (phase == LivePhase::end && found->second.is_ram) stream_.ram_complete = true;
  }

  void read_live_payload(std::uint32_t id, const LiveHandler& handler, LivePhase phase) {
    if (handler.is_ram) {
      ram_->read_payload(cursor_);
    } else if (handler.skip != nullptr) {
      handler.skip(cursor_, phase);
    } else {
      const auto end = footers_ == false ? std::nullopt : find_footer(id);
      if (!end) {
        cursor_.fail("live section",
                     quoted(handler.idstr) + " is unknown and its end cannot be found",
                     ErrorKind::unsupported);
      }
      cursor_.seek(*end, "live section");
    }
    read_footer(id);
  }

  void read_footer(std::uint32_t id) {
    if (!footers_) footers_ = cursor_.peek<std::uint8_t>() == byte_of(Element::footer);
    if (!*footers_) return;
    if (cursor_.read<std::uint8_t>("section footer") != byte_of(Element::footer)) {
      cursor_.fail("section footer", "is missing");
    }
    if (const auto found = cursor_.read<std::uint32_t>("section footer"); found != id) {
      cursor_.fail("section footer",
                   "names section " + std::to_string(found) + " instead of " + std::to_string(id));
    }
  }

  void read_command() {
    cursor_.read<std::uint16_t>("command");
    const auto size = cursor_.read<std::uint16_t>("command length");
    cursor_.take(size, "command data");
  }

  // --- device sections ---------------------------------------------------------------------------

  /// False if the rest of the stream could only be searched, not walked.
  bool read_device_section() {
    const SectionHeader header = read_section_header(cursor_);
    if (stream_.sections.size() == kMostSections) cursor_.fail("section", "is one too many");
    const FileOffset begin = cursor_.position();
    const auto end = end_of_device_section(header, begin);
    if (!end) {
      add_searched_sections(header, begin);
      return false;
    }
    cursor_.seek(*end, "device section");
    add_section(header, FileRange::between(begin, *end), true);
    read_footer(header.section_id);
    return true;
  }

  void add_section(const SectionHeader& header, FileRange payload, bool sized) {
    stream_.sections.push_back(
        {header.idstr, header.instance_id, header.version_id, payload, sized});
  }

  /// Where the payload at `begin` ends, from the description if that agrees with what follows, else
  /// by the footer. Nothing if the stream has neither.
  std::optional<FileOffset> end_of_device_section(const SectionHeader& header, FileOffset begin) {
    if (const auto size = described_size(header)) {
      const auto payload = FileRange::try_sized(begin, *size);
      if (payload && payload->end() <= window_.end() &&
          is_section_end(payload->end(), header.section_id)) {
        return payload->end();
      }
    }
    if (!footers_.value_or(true)) return std::nullopt;
    cursor_.seek(begin, "device section");
    const auto end = find_footer(header.section_id);
    if (!end)
      cursor_.fail("device section",
                   quoted(header.idstr) + " has no footer: the stream ends early");
    return end;
  }

  std::optional<std::uint64_t> described_size(const SectionHeader& header) {
    if (!described_) {
      described_.emplace();
      if (const auto json = find_vmdescription_at_end(source_, window_)) load_description(*json);
    }
    const auto found = described_->find({header.idstr, header.instance_id});
    return found == described_->end() ? std::nullopt : std::optional(found->second);
  }

  void load_description(FileRange json) {
    std::string text(static_cast<std::size_t>(json.size()), '\0');
    source_.read_at(json.begin(), std::as_writable_bytes(std::span(text)));
    if (const auto sections = parse_vmdescription(text)) {
      for (const DescribedSection& section : *sections) {
        described_->emplace(std::pair(section.idstr, section.instance_id), section.payload_size);
      }
    } else {
      diagnostics_.decision(source_.name(), "the device description at the end is not usable");
    }
  }

  /// True if, at this place, the section with this id can have ended.
  bool is_section_end(FileOffset at, std::uint32_t section_id) {
    Cursor probe(source_, FileRange::between(at, window_.end()), std::endian::big);
    if (!footers_.value_or(true)) return is_element(probe);
    const auto mark = probe.peek<std::uint8_t>();
    if (mark != byte_of(Element::footer) || probe.remaining() < kFooterSize) return false;
    probe.read<std::uint8_t>("footer");
    return probe.read<std::uint32_t>("footer") == section_id && is_element(probe);
  }

  /// True if an element of a stream can begin here. Strict, since a footer's five bytes and a plain
  /// zero occur in device state as well.
  bool is_element(Cursor& probe) {
    const auto type = probe.peek<std::uint8_t>();
    if (!type) return false;
    probe.read<std::uint8_t>("element type");
    switch (Element{*type}) {
      case Element::section_start:
      case Element::section_full:
        return is_section_header(probe);
      case Element::section_part:
      case Element::section_end: {
        const auto id = probe.peek<std::uint32_t>();
        return id && live_.contains(*id);
      }
      case Element::command: {
        const auto words = probe.peek<std::uint32_t>();
        return words && (*words >> 16) < 64 && (*words & 0xffff) <= probe.remaining() - 4;
      }
      case Element::eof:
        return is_end_of_stream(probe);
      default:
        return false;
    }
  }

  static bool is_section_header(Cursor& probe) {
    if (probe.remaining() < 4 + 1) return false;
    if (probe.read<std::uint32_t>("id") > kLargestSectionId) return false;
    const auto size = probe.read<std::uint8_t>("name length");
    if (size == 0 || probe.remaining() < size + 8U) return false;
    if (!is_printable(probe.read_text(size, "name"))) return false;
    probe.read<std::uint32_t>("instance");
    return probe.read<std::uint32_t>("version") < kLargestVersionId;
  }

  /// After the end mark: the end of the data, the description, or nothing but padding.
  static bool is_end_of_stream(Cursor& probe) {
    const auto next = probe.peek<std::uint8_t>();
    if (!next) return true;
    std::array<std::byte, 6> head{};
    if (*next == byte_of(Element::vmdescription))
      return probe.peek_bytes(head) && head[5] == std::byte{'{'};
    std::array<std::byte, 512> padding{};
    const auto some =
        std::span(padding).first(std::min<std::uint64_t>(padding.size(), probe.remaining()));
    probe.peek_bytes(some);
    return std::all_of(some.begin(), some.end(), [](std::byte b) { return b == std::byte{0}; });
  }

  /// The first place at or after the cursor where the section with this id ends. Moves the cursor.
  std::optional<FileOffset> find_footer(std::uint32_t section_id) {
    constexpr std::size_t kStep = 64 * 1024;
    std::array<std::byte, kStep> chunk{};
    std::array<std::byte, kFooterSize> footer{std::byte{byte_of(Element::footer)}};
    for (std::size_t i = 0; i < 4; ++i)
      footer[i + 1] = static_cast<std::byte>(section_id >> (24 - 8 * i));
    for (;;) {
      const FileOffset base = cursor_.position();
      const auto part = std::span(chunk).first(std::min<std::uint64_t>(kStep, cursor_.remaining()));
      cursor_.peek_bytes(part);
      for (auto at = part.begin();; ++at) {
        at = std::search(at, part.end(), footer.begin(), footer.end());
        if (at == part.end()) break;
        const FileOffset end = base + static_cast<std::uint64_t>(at - part.begin());
        if (is_section_end(end, section_id)) return end;
      }
      if (part.size() < kStep) return std::nullopt;
      cursor_.take(kStep - kFooterSize + 1, "section payload");
    }
  }

  // --- streams without footers and description (machine types up to 2.2) -------------------------

  /// Finds sections by what their headers look like, from `begin` to the end of the data. A payload
  /// may hold bytes that look like a header; whoever uses such a section checks its content.
  void add_searched_sections(const SectionHeader& first, FileOffset begin) {
    add_section(first, FileRange::between(begin, window_.end()), false);
    std::vector<std::byte> chunk(256 * 1024);
    const std::size_t longest = 1 + 4 + 1 + kLongestIdstr + 8;
    cursor_.seek(begin, "device section");
    for (;;) {
      const FileOffset base = cursor_.position();
      const auto part =
          std::span(chunk).first(std::min<std::uint64_t>(chunk.size(), cursor_.remaining()));
      cursor_.peek_bytes(part);
      const bool last = part.size() < chunk.size();
      for (std::size_t i = 0; i + (last ? 0 : longest) < part.size(); ++i) {
        if (part[i] == std::byte{byte_of(Element::section_full)}) add_if_section(base + i);
      }
      if (last) break;
      cursor_.take(chunk.size() - longest, "device sections");
    }
    diagnostics_.decision(source_.name(), "no section footers and no device description: " +
                                              counted(stream_.sections.size(), "device section") +
                                              " found by their headers");
    stream_.ram_complete = true;
  }

  void add_if_section(FileOffset at) {
    Cursor probe(source_, FileRange::between(at + 1, window_.end()), std::endian::big);
    if (!is_section_header(probe) || stream_.sections.size() == kMostSections) return;
    probe.seek(at + 1, "section");
    const SectionHeader header = read_section_header(probe);
    add_section(header, FileRange::between(probe.position(), window_.end()), false);
  }

  // --- end ---------------------------------------------------------------------------------------

  void end_stream() {
    // A background snapshot has no END for RAM; reaching the end mark means nothing is missing.
    stream_.ram_complete = true;
    if (!ram_) cursor_.fail("stream", "ends without a \"ram\" section");
    // QEMU before 8.1 does not mark the stream of a multifd migration.
    if (!ram_->is_plausible()) {
      cursor_.fail("stream",
                   "has no page with content, not even of the firmware: they went through other "
                   "connections (multifd)",
                   ErrorKind::unsupported);
    }
    note_description();
  }

  /// Whatever else follows the end, padding for one, is not of the stream.
  void note_description() {
    std::array<std::byte, 6> head{};  // mark, be32 length, '{'
    if (!cursor_.peek_bytes(head) || head[0] != std::byte{byte_of(Element::vmdescription)}) return;
    cursor_.read<std::uint8_t>("description mark");
    const auto size = cursor_.read<std::uint32_t>("description length");
    if (size <= kLargestDescription && size <= cursor_.remaining())
      stream_.description = cursor_.take(size, "description");
  }

  const ByteSource& source_;
  FileRange window_;
  Cursor cursor_;
  Diagnostics& diagnostics_;
  QevmStream stream_;
  std::optional<RamSection> ram_;
  std::map<std::uint32_t, LiveHandler> live_;
  std::optional<bool> footers_;
  /// Sizes of device sections by name and instance; of twins the first.
  std::optional<std::map<std::pair<std::string, std::uint64_t>, std::uint64_t>> described_;
};

}  // namespace

const DeviceSection* QevmStream::find_section(std::string_view name) const {
  const std::string suffix = "/" + std::string(name);
  const auto found =
      std::find_if(sections.begin(), sections.end(), [&](const DeviceSection& section) {
        return section.idstr == name || section.idstr.ends_with(suffix);
      });
  return found == sections.end() ? nullptr : &*found;
}

QevmStream parse_qevm(const ByteSource& source, FileRange window, bool salvage,
                      Diagnostics& diagnostics) {
  StreamParser parser(source, window, diagnostics);
  try {
    parser.parse();
  } catch (const Error& error) {
    // Salvage keeps what was parsed before the damage; without the block list that is nothing.
    if (!salvage || error.kind() != ErrorKind::corrupt || !parser.has_blocks()) throw;
    diagnostics.loss("", std::nullopt, std::string(error.what()) + "; what follows is lost");
  }
  return parser.take();
}

}  // namespace vmconvert::qemu
