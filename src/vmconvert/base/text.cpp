#include "vmconvert/base/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <ctime>
#include <limits>

namespace vmconvert {
namespace {

bool is_control(unsigned char c) { return c < 0x20 || c == 0x7f; }

/// Bytes of the UTF-8 character at the beginning of a text, 1 to 4; 0 if there is none.
std::size_t utf8_length(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text.front());
  const std::size_t length = lead < 0x80                   ? 1
                             : lead >= 0xc2 && lead < 0xe0 ? 2
                             : lead >= 0xe0 && lead < 0xf0 ? 3
                             : lead >= 0xf0 && lead < 0xf5 ? 4
                                                           : 0;
  if (length == 0 || length > text.size()) return 0;
  for (std::size_t k = 1; k < length; ++k) {
    if ((static_cast<unsigned char>(text[k]) & 0xc0) != 0x80) return 0;
  }
  if (length == 1) return 1;
  const auto second = static_cast<unsigned char>(text[1]);
  // Overlong forms, surrogates, beyond U+10FFFF.
  if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second >= 0xa0) ||
      (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second >= 0x90)) {
    return 0;
  }
  return length;
}

/// True if the bytes are UTF-8 without control characters (C1 controls included).
bool is_harmless(std::string_view text) {
  while (!text.empty()) {
    const auto lead = static_cast<unsigned char>(text.front());
    const std::size_t length = utf8_length(text);
    if (length == 0 || is_control(lead)) return false;
    if (lead == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0) return false;  // C1 control
    text.remove_prefix(length);
  }
  return true;
}

std::string escaped(unsigned char byte) {
  std::array<char, 8> escape{};
  std::snprintf(escape.data(), escape.size(), "\\x%02x", byte);
  return escape.data();
}

}  // namespace

std::string hex(std::uint64_t value) {
  std::array<char, 16> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value, 16).ptr;
  return "0x" + std::string(digits.data(), end);
}

std::string human_size(std::uint64_t bytes) {
  static constexpr std::array units{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return counted(bytes, "byte");
  std::size_t unit = 0;
  std::uint64_t scale = 1024;
  while (unit + 1 < units.size() && bytes / scale >= 1024) {
    scale *= 1024;
    ++unit;
  }
  std::array<char, 32> text{};
  const char* format = bytes % scale == 0 ? "%.0f %s" : "%.1f %s";
  double value = static_cast<double>(bytes) / static_cast<double>(scale);
  if (value >= 1023.95 && unit + 1 < units.size()) {  // would be shown as 1024.0
    value /= 1024;
    ++unit;
  }
  std::snprintf(text.data(), text.size(), format, value, units[unit]);
  return text.data();
}

std::string printable(std::string_view text) {
  return is_harmless(text) ? std::string(text) : quoted(text);
}

std::string quoted(std::string_view text) {
  const bool harmless = is_harmless(text);
  std::string result = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (is_control(byte) || (byte >= 0x80 && !harmless)) {
      result += escaped(byte);
    } else {
      result += c;
    }
  }
  return result + '"';
}

std::string utf8(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    if (length == 0) {
      result += escaped(static_cast<unsigned char>(text.front()));
      text.remove_prefix(1);
    } else {
      result += text.substr(0, length);
      text.remove_prefix(length);
    }
  }
  return result;
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    base = 16;
    text.remove_prefix(2);
  }
  std::uint64_t value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (status != std::errc{}) return std::nullopt;
  std::string suffix(end, text.data() + text.size());
  std::transform(suffix.begin(), suffix.end(), suffix.begin(), [](unsigned char c) {
    return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  });
  if (suffix.empty() || suffix == "b") return value;
  static constexpr std::string_view kUnits = "kmgt";
  const auto unit = kUnits.find(suffix.front());
  if (unit == std::string_view::npos) return std::nullopt;
  const std::string rest = suffix.substr(1);
  if (!rest.empty() && rest != "b" && rest != "ib") return std::nullopt;
  const unsigned shift = 10 * (static_cast<unsigned>(unit) + 1);
  if (value > (std::numeric_limits<std::uint64_t>::max() >> shift)) return std::nullopt;
  return value << shift;
}

std::string signed_hex(std::int64_t value) {
  const auto bits = static_cast<std::uint64_t>(value);
  return value < 0 ? "-" + hex(0 - bits) : hex(bits);
}

std::string utc_date(std::uint64_t seconds_since_1970) {
  constexpr std::uint64_t kYear10000 = 253402300800;
  if (seconds_since_1970 == 0 || seconds_since_1970 >= kYear10000) return "";
  const auto time = static_cast<std::time_t>(seconds_since_1970);
  std::tm parts{};
  std::array<char, 32> text{};
  if (::gmtime_r(&time, &parts) == nullptr) return "";
  return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

std::string counted(std::uint64_t n, std::string_view noun) {
  return std::to_string(n) + ' ' + std::string(noun) + (n == 1 ? "" : "s");
}

bool is_shallow_json(std::string_view text) {
  constexpr int kDeepest = 64;  // QEMU's description of a PC reaches about 12
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kDeepest) return false;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return true;
}

}  // namespace vmconvert
