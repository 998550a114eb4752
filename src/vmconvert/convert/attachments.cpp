#include "vmconvert/convert/attachments.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string_view>

#include "vmconvert/base/error.h"

namespace vmconvert {
namespace {

constexpr std::size_t kLongestName = 200;  // of 255, so that a temporary name and ".N" fit as well
constexpr std::uint64_t kStep = 1 << 20;

void write_bytes(ConstBytes bytes, FileOffset at, ByteSink& sink) {
  const std::array pieces{bytes};
  sink.write_at(at, pieces);
}

void copy_source(const ByteSource& source, FileRange range, ByteSink& sink) {
  if (range.end().value > source.size()) {
    throw Error(ErrorKind::corrupt, source.name(), range.begin().value,
                "what is embedded here reaches beyond the end");
  }
  std::vector<std::byte> buffer(static_cast<std::size_t>(std::min(kStep, range.size())));
  for (std::uint64_t done = 0; done < range.size();) {
    const auto part = std::span(buffer).first(
        static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), range.size() - done)));
    source.read_at(range.begin() + done, part);
    write_bytes(part, {done}, sink);
    done += part.size();
  }
}

std::string escaped(unsigned char c) {
  static constexpr std::string_view kDigits = "0123456789ABCDEF";
  return {'%', kDigits[c >> 4], kDigits[c & 0xf]};
}

std::string safe_file_name(std::string_view proposed) {
  std::string name;
  for (const char c : proposed) {
    const auto byte = static_cast<unsigned char>(c);
    const bool printable = byte >= 0x20 && byte < 0x7f;
    // The shell's wildcards would give such a name to a program as an option or a home folder.
    const bool leading = name.empty() && (c == '.' || c == '-' || c == '~' || c == ' ');
    const bool kept = printable && !leading && c != '/' && c != '\\' && c != '%';
    const std::string part = kept ? std::string(1, c) : escaped(byte);
    if (name.size() + part.size() > kLongestName) break;
    name += part;
  }
  return name.empty() ? "unnamed" : name;
}

}  // namespace

std::uint64_t attachment_size(const Attachment& attachment) {
  if (const auto* place = std::get_if<SourceBytes>(&attachment.content)) return place->range.size();
  return std::get<std::vector<std::byte>>(attachment.content).size();
}

void write_attachment(const Attachment& attachment, const GuestImage& image, ByteSink& sink) {
  sink.begin(attachment_size(attachment));
  if (const auto* place = std::get_if<SourceBytes>(&attachment.content)) {
    copy_source(*image.sources.at(place->source), place->range, sink);
  } else {
    write_bytes(std::get<std::vector<std::byte>>(attachment.content), {0}, sink);
  }
}

std::vector<std::string> safe_file_names(std::span<const std::string> proposed) {
  std::vector<std::string> names;
  std::set<std::string, std::less<>> taken;
  std::map<std::string, std::uint64_t, std::less<>> last_number;  // so that n alike cost O(n log n)
  for (const std::string& wanted : proposed) {
    const std::string base = safe_file_name(wanted);
    std::string name = base;
    std::uint64_t& number = last_number.try_emplace(base, 1).first->second;
    while (!taken.insert(name).second) name = base + "." + std::to_string(++number);
    names.push_back(std::move(name));
  }
  return names;
}

}  // namespace vmconvert
