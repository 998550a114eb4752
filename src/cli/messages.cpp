#include "messages.h"

#include <array>
#include <cstdio>

#include "vmconvert/base/text.h"

namespace vmconvert::cli {
namespace {

constexpr std::chrono::milliseconds kRedraw{167};

std::string minutes(double seconds) {
  const auto whole = static_cast<std::uint64_t>(seconds + 0.5);
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%llu:%02llu",
                static_cast<unsigned long long>(whole / 60),
                static_cast<unsigned long long>(whole % 60));
  return text.data();
}

}  // namespace

void print_error(std::string_view text) {
  std::fprintf(stderr, "vmconvert: %.*s\n", static_cast<int>(text.size()), text.data());
}

bool ConsoleDiagnostics::wants(Level level) const {
  switch (level) {
    case Level::loss:
      return true;
    case Level::warning:
      return verbosity_ >= 0;
    case Level::decision:
      return verbosity_ >= 1;
    case Level::detail:
      return verbosity_ >= 2;
  }
  return true;
}

void ConsoleDiagnostics::report(Level level, std::string_view file,
                                std::optional<std::uint64_t> offset, std::string_view text) {
  if (!wants(level)) return;
  std::string line = level == Level::loss ? "lost: " : level == Level::warning ? "warning: " : "";
  if (!file.empty()) line += printable(file) + ": ";
  if (offset) line += "offset " + hex(*offset) + ": ";
  print_error(line + std::string(text));
}

ProgressBar::~ProgressBar() {
  if (width_ == 0) return;
  std::fprintf(stderr, "\r%*s\r", static_cast<int>(width_), "");
}

void ProgressBar::begin(std::uint64_t total) {
  total_ = total;
  started_ = drawn_ = Clock::now();
}

void ProgressBar::advance(std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  done_ += bytes;
  if (!shown_) return;
  const auto now = Clock::now();
  if (now - drawn_ < kRedraw && done_ != total_) return;
  draw(now);
}

void ProgressBar::draw(Clock::time_point now) {
  const double seconds = std::chrono::duration<double>(now - started_).count();
  const double rate = seconds > 0 ? static_cast<double>(done_) / seconds : 0;
  std::string line =
      "vmconvert: " + printable(name_) + ": " + human_size(done_) + " of " + human_size(total_);
  if (rate > 0) {
    line += ", " + human_size(static_cast<std::uint64_t>(rate)) + "/s, " +
            minutes(static_cast<double>(total_ - done_) / rate) + " left";
  }
  std::fprintf(stderr, "\r%-*s", static_cast<int>(width_), line.c_str());
  std::fflush(stderr);
  width_ = std::max(width_, line.size());
  drawn_ = now;
}

}  // namespace vmconvert::cli
