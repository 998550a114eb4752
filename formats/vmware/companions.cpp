#include "vmware/companions.h"

#include <algorithm>
#include <array>
#include <vector>

#include "vmconvert/base/text.h"

namespace vmconvert::vmware {
namespace {

using namespace std::string_view_literals;

constexpr std::array kStates{".vmss"sv, ".vmsn"sv, ".guest"sv};
constexpr std::string_view kMemory = ".vmem";
// What Input unpacks.
constexpr std::array kPackings{".gz"sv, ".bz2"sv, ".xz"sv, ".zst"sv, ".lz4"sv, ".lzo"sv};

struct Name {
  std::string stem;       ///< as it is
  std::string extension;  ///< lower case, with the dot; empty if there is none
};

Name split(std::string_view path) {
  path.remove_prefix(std::min(path.rfind('/') + 1, path.size()));
  for (const std::string_view packing : kPackings) {
    if (path.size() > packing.size() && lower(path).ends_with(packing)) {
      path.remove_suffix(packing.size());
      break;
    }
  }
  const auto dot = path.rfind('.');
  if (dot == std::string_view::npos || dot == 0) return {std::string(path), ""};
  return {std::string(path.substr(0, dot)), lower(path.substr(dot))};
}

bool is_state(std::string_view extension) {
  return std::find(kStates.begin(), kStates.end(), extension) != kStates.end();
}

/// "564d1b0a-8a7c-...": what objects of vSAN and the memory of running machines are called.
bool is_uuid(std::string_view text) {
  constexpr std::string_view kShape = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
  return std::equal(text.begin(), text.end(), kShape.begin(), kShape.end(), [](char c, char shape) {
    const bool hex_digit =
        (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    return shape == 'x' ? hex_digit : c == shape;
  });
}

/// The only one of `names`; of several the one that is `exact`.
std::optional<std::string> only(const std::vector<std::string>& names, const std::string& path,
                                std::string_view exact_stem, std::string_view what) {
  if (names.empty()) return std::nullopt;
  if (names.size() == 1) return names.front();
  std::vector<std::string> exact;
  std::string list;
  for (const std::string& name : names) {
    if (split(name).stem == exact_stem) exact.push_back(name);
    list += (list.empty() ? "" : ", ") + printable(name);
  }
  if (exact.size() == 1) return exact.front();
  throw Error(ErrorKind::usage, path, std::nullopt,
              "has several files beside it that could be its " + std::string(what) + ": " + list +
                  "; name one with --" + std::string(what));
}

/// Files with the stem of `path` and this extension, upper and lower case alike.
std::vector<std::string> same_stem(const std::vector<std::string>& names, const Name& own,
                                   std::string_view extension) {
  std::vector<std::string> found;
  for (const std::string& name : names) {
    const Name parts = split(name);
    if (parts.extension == extension && lower(parts.stem) == lower(own.stem)) found.push_back(name);
  }
  return found;
}

/// A file that is called by a UUID, with .vmem or without an extension.
bool has_uuid_name(const std::string& name) {
  const Name parts = split(name);
  return is_uuid(parts.stem) && (parts.extension.empty() || parts.extension == kMemory);
}

}  // namespace

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c); });
  return result;
}

std::string base_name(std::string_view path) {
  return std::string(path.substr(std::min(path.rfind('/') + 1, path.size())));
}

std::string file_name(std::string_view path) { return printable(base_name(path)); }

bool has_extension(std::string_view path, std::string_view extension) {
  return split(path).extension == extension;
}

std::string expected_memory(std::string_view path) {
  return split(path).stem + std::string(kMemory);
}

std::optional<std::string> find_memory(const Neighbours& folder, const std::string& path,
                                       std::uint64_t expected, Diagnostics& diagnostics) {
  const std::vector<std::string> names = folder.names();
  const Name own = split(path);
  if (auto found = only(same_stem(names, own, kMemory), path, own.stem, "memory")) return found;
  std::vector<std::string> candidates;
  std::size_t states = 0;
  for (const std::string& name : names) {
    if (is_state(split(name).extension)) ++states;
    if (expected != 0 && has_uuid_name(name) && folder.size(name) == expected)
      candidates.push_back(name);
  }
  if (states > 1 || candidates.size() != 1) return std::nullopt;
  diagnostics.warn(path, printable(candidates.front()) +
                             " beside it is taken for its memory, by its name and size alone");
  return candidates.front();
}

std::optional<std::string> find_state(const Neighbours& folder, const std::string& path,
                                      Diagnostics& diagnostics) {
  const std::vector<std::string> names = folder.names();
  const Name own = split(path);
  for (const std::string_view extension : kStates) {
    if (auto found = only(same_stem(names, own, extension), path, own.stem, "state")) return found;
  }
  if (!is_uuid(own.stem)) return std::nullopt;
  std::vector<std::string> candidates;
  for (const std::string& name : names) {
    const Name parts = split(name);
    if (is_state(parts.extension) && same_stem(names, parts, kMemory).empty())
      candidates.push_back(name);
  }
  if (candidates.size() != 1) return std::nullopt;
  diagnostics.warn(path, printable(candidates.front()) +
                             " beside it is taken for its state, as the only one there");
  return candidates.front();
}

}  // namespace vmconvert::vmware
