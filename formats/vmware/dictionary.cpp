#include "vmware/dictionary.h"

#include <algorithm>

#include "vmware/companions.h"

namespace vmconvert::vmware {
namespace {

std::string_view trimmed(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  return text.substr(0, text.find_last_not_of(" \t") + 1);
}

}  // namespace

Dictionary::Dictionary(std::string_view text) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const auto equals = line.find('=');
    if (equals == std::string_view::npos || trimmed(line).starts_with('#')) continue;
    const auto open = line.find('"', equals), close = line.rfind('"');
    const std::string key = lower(trimmed(line.substr(0, equals)));
    if (key.empty() || open == std::string_view::npos || close <= open) continue;
    values_.try_emplace(key, line.substr(open + 1, close - open - 1));
  }
}

std::optional<std::string> Dictionary::find(std::string_view key) const {
  const auto found = values_.find(lower(key));
  return found == values_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace vmconvert::vmware
