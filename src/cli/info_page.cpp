#include "info_page.h"

namespace vmconvert::cli {
namespace {

constexpr std::size_t kWidth = 79;

}  // namespace

std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

std::string padded(std::string text, std::size_t columns) {
  text.append(columns - std::min(columns, width(text)), ' ');
  return text;
}

std::string right(const std::string& text, std::size_t columns) {
  return std::string(columns - std::min(columns, width(text)), ' ') + text;
}

void Page::row(std::string_view label, std::string_view words, std::size_t indent) {
  std::string line = padded(std::string(label), indent);
  if (width(line) > indent) {  // the label is longer than its column
    text_ += line + "\n";
    line.assign(indent, ' ');
  }
  bool empty = true;
  while (!words.empty()) {
    const std::string_view word = words.substr(0, words.find(' '));
    words.remove_prefix(std::min(words.size(), word.size() + 1));
    if (!empty && width(line) + 1 + width(word) > kWidth) {
      text_ += line + "\n";
      line.assign(indent, ' ');
      empty = true;
    }
    if (!empty) line += ' ';
    line += word;
    empty = false;
  }
  line.erase(line.find_last_not_of(' ') + 1);
  text_ += line + "\n";
}

}  // namespace vmconvert::cli
