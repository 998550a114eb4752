#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

namespace vmconvert::cli {

/// Characters of UTF-8 text, which is about how wide a terminal shows it.
std::size_t width(std::string_view text);

/// The text with spaces behind or before it, so that it is at least this wide.
std::string padded(std::string text, std::size_t columns);
std::string right(const std::string& text, std::size_t columns);

/// Lines of text, each at most 79 columns wide unless one word is longer.
class Page {
 public:
  static constexpr std::size_t kLabelWidth = 14;

  /// "Label         words that may go on in the next line".
  void row(std::string_view label, std::string_view words, std::size_t indent = kLabelWidth);
  void heading(std::string_view title) { text_ += "\n" + std::string(title) + "\n"; }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

/// Width of the column that holds these, at most `most`.
template <class List, class Get>
std::size_t column(const List& list, const Get& get, std::size_t most) {
  std::size_t widest = 0;
  for (const auto& item : list) widest = std::max(widest, width(get(item)));
  return std::min(widest, most);
}

}  // namespace vmconvert::cli
