#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vmconvert/base/diagnostics.h"
#include "vmconvert/io/input.h"
#include "vmconvert/model/format.h"

namespace vmconvert::cli {

/// Passes messages on, and keeps the losses and warnings among them for the report.
class ReportedDiagnostics final : public Diagnostics {
 public:
  explicit ReportedDiagnostics(Diagnostics& next) : next_(next) {}
  void report(Level level, std::string_view file, std::optional<std::uint64_t> offset,
              std::string_view text) override;
  bool wants(Level level) const override {
    return level == Level::loss || level == Level::warning || next_.wants(level);
  }

  std::vector<std::string> losses;
  std::vector<std::string> warnings;

 private:
  Diagnostics& next_;
};

/// What `info` shows of one input.
struct InfoReport {
  std::string file;        ///< as the user named it
  std::uint64_t size = 0;  ///< bytes, after unpacking
  std::string format, format_summary;
  /// The table of an input that can hold several states.
  std::optional<std::vector<Snapshot>> snapshots;
  /// Nothing if the input holds several states, or none, and none was chosen.
  std::optional<GuestImage> image;
  std::vector<std::string> losses;
  std::vector<std::string> warnings;
  bool hexdump = false;  ///< show bytes of records
};

/// Reads the input, and of guest memory no more than what the format needs and the running kernel's
/// image.
/// @param diagnostics  what was reported before, while the input was opened, is in the report, too
/// @throws Error as the format does
InfoReport make_report(const Input& input, const Format& format, const ReadOptions& options,
                       ReportedDiagnostics& diagnostics);

/// CRASHTIME as utc_date() has it; empty if there is none.
std::string crash_date(const Vmcoreinfo& vmcoreinfo);

/// "configuration", "device-description", "screenshot", "other".
std::string_view kind_name(Attachment::Kind kind);

/// For people, at most 79 columns wide but for single words; text from the input is escaped.
std::string info_text(const InfoReport& report);

/// For programs: docs/info.md, docs/info.schema.json. ASCII; ends with a newline.
std::string info_json(const InfoReport& report);

}  // namespace vmconvert::cli
