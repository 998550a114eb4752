#include "info_records.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vmconvert/base/text.h"

namespace vmconvert::cli {
namespace {

using json = nlohmann::ordered_json;

// Of a value that is shown. docs/info.md names the first two.
constexpr std::uint64_t kMostBytes = 256, kMostBytesUnasked = 64;
constexpr std::size_t kMostText = 56, kMostInLine = 16;

/// The beginning of a value as it is stored.
std::vector<std::byte> head_of(const ByteSource& source, const Record& record) {
  std::vector<std::byte> head(static_cast<std::size_t>(std::min(record.place.size(), kMostBytes)));
  source.read_at(record.place.begin(), head);
  return head;
}

/// Cuts a character that is not complete, of a text that was cut somewhere.
void cut_incomplete(std::string& text) {
  std::size_t size = text.size();
  while (size > 0 && text.size() - size < 3 &&
         (static_cast<unsigned char>(text[size - 1]) & 0xc0) == 0x80)
    --size;
  if (size > 0 && static_cast<unsigned char>(text[size - 1]) >= 0xc0) text.resize(size - 1);
}

/// The text that bytes are: UTF-8 without control characters but those that lay out lines, with
/// nothing but zeros behind it.
std::optional<std::string> text_in(std::span<const std::byte> bytes, bool cut) {
  std::string text(bytes.size(), '\0');
  std::transform(bytes.begin(), bytes.end(), text.begin(),
                 [](std::byte b) { return static_cast<char>(b); });
  const auto end = text.find('\0');
  if (end != std::string::npos && text.find_first_not_of('\0', end) != std::string::npos)
    return std::nullopt;
  text.resize(std::min(end, text.size()));
  if (cut && end == std::string::npos) cut_incomplete(text);
  std::string plain = text;
  std::replace_if(
      plain.begin(), plain.end(), [](char c) { return c == '\n' || c == '\r' || c == '\t'; }, ' ');
  if (text.empty() || printable(plain) != plain) return std::nullopt;
  return text;
}

std::string hex_byte(std::byte value) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  const auto byte = std::to_integer<unsigned>(value);
  return {kDigits[byte >> 4], kDigits[byte & 0xf]};
}

/// "d2 be 08", or without spaces.
std::string hex_bytes(std::span<const std::byte> bytes, std::string_view between) {
  std::string text;
  for (const std::byte byte : bytes)
    text += (text.empty() ? "" : std::string(between)) + hex_byte(byte);
  return text;
}

/// A value, read as far as it is shown.
struct Value {
  std::vector<std::byte> head;  ///< of what is no number
  std::optional<std::string> text;
};

Value value_of(const ByteSource& source, const Record& record) {
  Value value;
  if (record.number) return value;
  value.head = head_of(source, record);
  if (!record.encoded) value.text = text_in(value.head, value.head.size() < record.size);
  return value;
}

std::string value_text(const Record& record, const Value& value) {
  if (record.number) {
    const std::string decimal =
        *record.number > 9 ? " (" + std::to_string(*record.number) + ")" : "";
    return hex(*record.number) + decimal;
  }
  if (record.encoded) return "packed, " + counted(record.place.size(), "byte") + " in the file";
  if (value.text) {
    std::string text = value.text->substr(0, kMostText);
    const bool cut = text.size() < value.text->size() || value.head.size() < record.size;
    if (text.size() < value.text->size()) cut_incomplete(text);
    return vmconvert::quoted(text) + (cut && value.head.back() != std::byte{0} ? "..." : "");
  }
  const auto first = std::span(value.head).first(std::min(value.head.size(), kMostInLine));
  return hex_bytes(first, " ") + (first.size() < record.size ? " ..." : "");
}

std::string label_of(const Record& record) {
  std::string label = "    " + printable(record.name);
  for (const std::uint32_t index : record.indices) label += '[' + std::to_string(index) + ']';
  return label;
}

void show_bytes(const Value& value, const Record& record, Page& page) {
  for (std::size_t at = 0; at < value.head.size(); at += kMostInLine) {
    const auto part =
        std::span(value.head).subspan(at).first(std::min(kMostInLine, value.head.size() - at));
    std::string characters;
    for (const std::byte byte : part) {
      const auto c = std::to_integer<char>(byte);
      characters += c >= 0x20 && c < 0x7f ? c : '.';
    }
    const std::string line = "      " + right(hex(at).substr(2), 3) + "  " +
                             padded(hex_bytes(part, " "), 3 * kMostInLine - 1) + "  " + characters;
    page.row(line, "", width(line));
  }
  if (value.head.size() < record.place.size())
    page.row("", "and " + counted(record.place.size() - value.head.size(), "more byte"), 11);
}

void show_group(const ByteSource& source, const RecordGroup& group, bool hexdump, Page& page) {
  page.row("  " + printable(group.name),
           "at " + hex(group.at.value) + ", " + counted(group.size, "byte"), 14);
  constexpr std::size_t kMostLabel = 32, kOffset = 13, kSize = 9;
  const std::size_t columns = column(group.records, label_of, kMostLabel);
  for (const Record& record : group.records) {
    std::string label = label_of(record);
    if (width(label) > columns) {
      page.row(label, "", width(label));
      label.clear();
    }
    label = padded(label, columns) + right(hex(record.place.begin().value), kOffset) + ' ' +
            right(std::to_string(record.size), kSize) + "  ";
    const Value value = value_of(source, record);
    page.row(label, value_text(record, value), width(label));
    if (hexdump && !record.number) show_bytes(value, record, page);
  }
  if (!group.damage.empty()) page.row("    -", printable(group.damage), 6);
}

json record_json(const ByteSource& source, const Record& record, bool hexdump) {
  const Value value = value_of(source, record);
  json bytes;
  if (!record.number && (hexdump || !value.text)) {
    const std::uint64_t most = hexdump ? kMostBytes : kMostBytesUnasked;
    const auto shown = std::min<std::uint64_t>(value.head.size(), most);
    bytes = hex_bytes(std::span(value.head).first(static_cast<std::size_t>(shown)), "");
  }
  return {{"name", utf8(record.name)},
          {"indices", record.indices},
          {"offset", hex(record.place.begin().value)},
          {"size", record.size},
          {"stored_size", record.place.size()},
          {"packed", record.encoded},
          {"number", record.number ? json(hex(*record.number)) : json()},
          {"text", value.text ? json(utf8(*value.text)) : json()},
          {"bytes", std::move(bytes)}};
}

}  // namespace

void show_records(const GuestImage& image, bool hexdump, Page& page) {
  if (!image.metadata.records) return;
  const RecordList& list = *image.metadata.records;
  const ByteSource& source = *image.sources.at(list.source);
  page.heading("Tags, with place in the file, bytes and value");
  for (const RecordGroup& group : list.groups) show_group(source, group, hexdump, page);
}

json records_json(const GuestImage& image, bool hexdump) {
  if (!image.metadata.records) return {};
  const RecordList& list = *image.metadata.records;
  const ByteSource& source = *image.sources.at(list.source);
  json groups = json::array();
  for (const RecordGroup& group : list.groups) {
    json tags = json::array();
    for (const Record& record : group.records) tags.push_back(record_json(source, record, hexdump));
    groups.push_back({{"name", utf8(group.name)},
                      {"offset", hex(group.at.value)},
                      {"size", group.size},
                      {"damage", group.damage.empty() ? json() : json(utf8(group.damage))},
                      {"tags", std::move(tags)}});
  }
  return {{"file", utf8(source.name())}, {"groups", std::move(groups)}};
}

}  // namespace vmconvert::cli
