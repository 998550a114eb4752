#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

#include "vmconvert/base/diagnostics.h"
#include "vmconvert/convert/copy_engine.h"

namespace vmconvert::cli {

/// "vmconvert: TEXT" on standard error.
void print_error(std::string_view text);

/// Prints what the library reports to standard error.
class ConsoleDiagnostics final : public Diagnostics {
 public:
  /// @param verbosity  -1: errors and losses only; 0: warnings too; 1: decisions; 2: details
  explicit ConsoleDiagnostics(int verbosity) : verbosity_(verbosity) {}
  void report(Level level, std::string_view file, std::optional<std::uint64_t> offset,
              std::string_view text) override;
  bool wants(Level level) const override;

 private:
  int verbosity_;
};

/// A line on standard error that is drawn anew at most six times a second: bytes, rate, time left.
class ProgressBar final : public Progress {
 public:
  ProgressBar(std::string name, bool shown) : name_(std::move(name)), shown_(shown) {}
  ~ProgressBar() override;
  void begin(std::uint64_t total) override;
  void advance(std::uint64_t bytes) override;

 private:
  using Clock = std::chrono::steady_clock;
  void draw(Clock::time_point now);

  std::string name_;
  bool shown_;
  std::mutex mutex_;
  std::uint64_t total_ = 0;
  std::uint64_t done_ = 0;
  std::size_t width_ = 0;  ///< of the line that is on the screen
  Clock::time_point started_;
  Clock::time_point drawn_;
};

}  // namespace vmconvert::cli
