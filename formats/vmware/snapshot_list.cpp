#include "vmware/snapshot_list.h"

#include <charconv>
#include <optional>
#include <span>

#include "vmconvert/base/error.h"
#include "vmconvert/base/text.h"
#include "vmware/companions.h"
#include "vmware/dictionary.h"

namespace vmconvert::vmware {
namespace {

// Real lists have a few thousand bytes, and a folder has one of them.
constexpr std::uint64_t kLargestList = 256 * 1024;
constexpr std::size_t kMostLists = 16;
// Products allow some dozens; numbers may have gaps.
constexpr unsigned kMostSnapshots = 4096;

std::optional<std::int32_t> number(const std::optional<std::string>& text) {
  std::int32_t value = 0;
  if (!text) return std::nullopt;
  const char* end = text->data() + text->size();
  const auto parsed = std::from_chars(text->data(), end, value);
  return parsed.ec == std::errc() && parsed.ptr == end ? std::optional(value) : std::nullopt;
}

/// Microseconds since 1970, in two halves with signs; empty if that is no date.
std::string date(const Dictionary& list, const std::string& prefix) {
  constexpr std::uint64_t kSecond = 1'000'000;
  const auto high = number(list.find(prefix + "createTimeHigh"));
  const auto low = number(list.find(prefix + "createTimeLow"));
  if (!high || !low || *high < 0) return "";
  const std::uint64_t time =
      static_cast<std::uint64_t>(*high) << 32 | static_cast<std::uint32_t>(*low);
  return utc_date(time / kSecond);
}

/// "snapshot3.", by which the list calls the state; nothing if it does not name it.
std::optional<std::string> prefix_of(const Dictionary& list, const std::string& state) {
  for (unsigned i = 0; i < kMostSnapshots; ++i) {
    std::string prefix = "snapshot" + std::to_string(i) + '.';
    const auto file = list.find(prefix + "filename");
    if (file && lower(*file) == lower(state)) return prefix;
  }
  return std::nullopt;
}

std::optional<std::string> read_list(const Neighbours& folder, const std::string& name,
                                     Diagnostics& diagnostics) {
  const std::uint64_t size = folder.size(name);
  if (size == 0 || size > kLargestList) return std::nullopt;
  const auto source = folder.open(name, false, diagnostics);
  if (source->size() > kLargestList) return std::nullopt;
  std::string text(static_cast<std::size_t>(source->size()), '\0');
  source->read_at({0}, std::as_writable_bytes(std::span(text)));
  return text;
}

}  // namespace

void add_snapshot_facts(const Neighbours& folder, const std::string& path, Metadata& metadata,
                        Diagnostics& diagnostics) {
  const std::string state = base_name(path);
  std::size_t left = kMostLists;
  for (const std::string& name : folder.names()) {
    if (!has_extension(name, ".vmsd") || left == 0) continue;
    --left;
    const auto add = [&](const char* key, const std::optional<std::string>& value) {
      if (value && !value->empty()) metadata.facts.push_back({key, *value});
    };
    try {
      const auto text = read_list(folder, name, diagnostics);
      if (!text) continue;
      const Dictionary list(*text);
      const auto prefix = prefix_of(list, state);
      if (!prefix) continue;
      add("snapshot.id", list.find(*prefix + "uid"));
      add("snapshot.name", list.find(*prefix + "displayName"));
      add("snapshot.date", date(list, *prefix));
      add("snapshot.description", list.find(*prefix + "description"));
      add("snapshot.list", name);
      return;
    } catch (const Error& error) {
      diagnostics.warn("", std::string(error.what()) + "; this list of snapshots is left aside");
    }
  }
}

}  // namespace vmconvert::vmware
