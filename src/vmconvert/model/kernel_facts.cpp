#include "vmconvert/model/kernel_facts.h"

#include <charconv>

namespace vmconvert {
namespace {

template <class T>
std::optional<T> parse(std::string_view text, int base) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string key_of(std::string_view kind, std::string_view name) {
  return std::string(kind) + '(' + std::string(name) + ')';
}

}  // namespace

std::optional<std::string_view> Vmcoreinfo::value(std::string_view key) const {
  std::string_view rest(text);
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    if (line.size() > key.size() && line[key.size()] == '=' && line.starts_with(key))
      return line.substr(key.size() + 1);
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
  }
  return std::nullopt;
}

std::optional<std::uint64_t> Vmcoreinfo::hex_value(std::string_view key) const {
  const auto found = value(key);
  return found ? parse<std::uint64_t>(*found, 16) : std::nullopt;
}

std::optional<std::uint64_t> Vmcoreinfo::symbol(std::string_view name) const {
  return hex_value(key_of("SYMBOL", name));
}

std::optional<std::int64_t> Vmcoreinfo::number(std::string_view name) const {
  const auto found = value(key_of("NUMBER", name));
  if (!found) return std::nullopt;
  if (found->starts_with("0x")) {
    const auto unsigned_value = parse<std::uint64_t>(found->substr(2), 16);
    if (!unsigned_value) return std::nullopt;
    return static_cast<std::int64_t>(*unsigned_value);
  }
  return parse<std::int64_t>(*found, 10);
}

}  // namespace vmconvert
