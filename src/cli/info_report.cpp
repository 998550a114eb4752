#include "info_report.h"

#include <algorithm>

#include "vmconvert/base/text.h"
#include "vmconvert/convert/choose_format.h"
#include "vmconvert/kernel/find_kernel.h"

namespace vmconvert::cli {

void ReportedDiagnostics::report(Level level, std::string_view file,
                                 std::optional<std::uint64_t> offset, std::string_view text) {
  if (level == Level::loss || level == Level::warning) {
    const std::string where = offset ? "offset " + hex(*offset) + ": " : "";
    (level == Level::loss ? losses : warnings).push_back(where + std::string(text));
  }
  if (level == Level::loss) {
    next_.loss(file, offset, text);
  } else {
    next_.report(level, file, offset, text);
  }
}

InfoReport make_report(const Input& input, const Format& format, const ReadOptions& options,
                       ReportedDiagnostics& diagnostics) {
  const ByteSource& source = *input.source();
  InfoReport report{source.name(), source.size(), std::string(format.name),
                    std::string(format.summary)};
  bool one_state = true;
  if (format.snapshots != nullptr) {
    report.snapshots = format.snapshots(input);
    one_state = std::count_if(report.snapshots->begin(), report.snapshots->end(),
                              [](const Snapshot& s) { return s.state_size != 0; }) == 1;
  }
  if (one_state || !options.snapshot.empty())
    report.image = read_image(format, input, options, diagnostics);
  if (report.image) {
    const KernelOptions no_search{.vmcoreinfo = {}, .vmlinux = {}, .scan = Scan::image};
    try {
      find_kernel(*report.image, no_search, diagnostics);
    } catch (const Error& error) {  // guest memory that is damaged hides nothing else
      diagnostics.warn(report.file,
                       "the guest's kernel cannot be looked at: " + std::string(error.what()));
    }
  }
  report.losses = diagnostics.losses;
  report.warnings = diagnostics.warnings;
  return report;
}

std::string crash_date(const Vmcoreinfo& vmcoreinfo) {
  return utc_date(parse_size(vmcoreinfo.value("CRASHTIME").value_or("")).value_or(0));
}

std::string_view kind_name(Attachment::Kind kind) {
  switch (kind) {
    case Attachment::Kind::configuration:
      return "configuration";
    case Attachment::Kind::device_description:
      return "device-description";
    case Attachment::Kind::screenshot:
      return "screenshot";
    case Attachment::Kind::other:
      break;
  }
  return "other";
}

}  // namespace vmconvert::cli
