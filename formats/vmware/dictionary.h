#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace vmconvert::vmware {

/// Bytes of a text that is read as a dictionary. Real ones have some ten thousand.
inline constexpr std::uint64_t kLargestDictionary = 4 << 20;

/// The pairs in a .vmx or .vmsd: lines `key = "value"`, and comments that begin with `#`.
class Dictionary {
 public:
  explicit Dictionary(std::string_view text);

  /// The value of a key, which is the same in upper and lower case, as found: not escaped. Of
  /// several the first; nothing if there is none.
  std::optional<std::string> find(std::string_view key) const;

 private:
  std::map<std::string, std::string, std::less<>> values_;  ///< by key in lower case
};

}  // namespace vmconvert::vmware
