#include <cstdio>

#include "all_formats.h"
#include "commands.h"
#include "info_report.h"
#include "messages.h"
#include "vmconvert/convert/choose_format.h"

namespace vmconvert::cli {

int run_info(const Options& options) {
  ConsoleDiagnostics console(options.verbosity);
  ReportedDiagnostics diagnostics(console);
  const ConvertRequest& request = options.request;
  const Input input = Input::open(request.input, request.read.salvage, diagnostics);
  const Format& format = choose_format(all_formats(), request.from, *input.source());
  ReadOptions read = request.read;
  read.memory_needed = false;
  read.details = true;
  read.records = options.tags || options.hexdump;
  InfoReport report = make_report(input, format, read, diagnostics);
  report.hexdump = options.hexdump;
  const std::string text = options.json ? info_json(report) : info_text(report);
  std::fwrite(text.data(), 1, text.size(), stdout);  // main() tells of a failure
  return diagnostics.lost() ? kLost : kDone;
}

}  // namespace vmconvert::cli
