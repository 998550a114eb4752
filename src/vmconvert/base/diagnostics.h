#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace vmconvert {

/// What a conversion tells besides its result. The library reports; the program prints.
class Diagnostics {
 public:
  enum class Level {
    loss,      ///< under --salvage: content of the input that is not in the output
    warning,   ///< the output is complete, yet the reader should know
    decision,  ///< -v: what was chosen and why
    detail,    ///< -vv: per record
  };

  Diagnostics() = default;
  Diagnostics(const Diagnostics&) = delete;
  Diagnostics& operator=(const Diagnostics&) = delete;
  virtual ~Diagnostics() = default;

  /// Called from the thread that reads and plans, never from workers. `file` may be empty.
  virtual void report(Level level, std::string_view file, std::optional<std::uint64_t> offset,
                      std::string_view text) = 0;
  /// False if report() of this level would be dropped: saves composing the text.
  virtual bool wants(Level level) const = 0;

  void loss(std::string_view file, std::optional<std::uint64_t> offset, std::string_view text) {
    lost_ = true;
    report(Level::loss, file, offset, text);
  }
  void warn(std::string_view file, std::string_view text) {
    report(Level::warning, file, std::nullopt, text);
  }
  void decision(std::string_view file, std::string_view text) {
    report(Level::decision, file, std::nullopt, text);
  }
  /// True once loss() was called: the exit code says so.
  bool lost() const { return lost_; }

 private:
  bool lost_ = false;
};

}  // namespace vmconvert
