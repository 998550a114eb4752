#include <unistd.h>

#include "all_formats.h"
#include "all_writers.h"
#include "commands.h"
#include "messages.h"
#include "signals.h"

namespace vmconvert::cli {
namespace {

bool shows_progress(const Options& options) {
  if (options.progress == "always") return true;
  return options.progress == "auto" && options.verbosity >= 0 && ::isatty(STDERR_FILENO) == 1;
}

}  // namespace

int run_convert(const Options& options) {
  TemporaryFiles temporaries;
  const SignalGuard guard(temporaries);
  ConsoleDiagnostics diagnostics(options.verbosity);
  {
    ProgressBar progress(options.request.output, shows_progress(options));
    convert(options.request, {all_formats(), all_writers(), diagnostics, progress, temporaries});
  }
  return diagnostics.lost() ? kLost : kDone;
}

}  // namespace vmconvert::cli
