#pragma once

#include <string>
#include <utility>
#include <vector>

#include "vmconvert/base/diagnostics.h"
#include "vmconvert/base/text.h"

namespace vmconvert::test {

/// Keeps what was reported: "FILE: offset 0x..: TEXT", unknown parts left out.
class CollectingDiagnostics final : public Diagnostics {
 public:
  void report(Level level, std::string_view file, std::optional<std::uint64_t> offset,
              std::string_view text) override {
    std::string line;
    if (!file.empty()) line += std::string(file) + ": ";
    if (offset) line += "offset " + hex(*offset) + ": ";
    reports_.emplace_back(level, line + std::string(text));
  }
  bool wants(Level) const override { return true; }

  std::vector<std::string> of(Level level) const {
    std::vector<std::string> texts;
    for (const auto& [l, text] : reports_) {
      if (l == level) texts.push_back(text);
    }
    return texts;
  }
  /// True if a report of this level contains the text.
  bool has(Level level, std::string_view text) const {
    for (const std::string& report : of(level)) {
      if (report.find(text) != std::string::npos) return true;
    }
    return false;
  }

 private:
  std::vector<std::pair<Level, std::string>> reports_;
};

}  // namespace vmconvert::test
