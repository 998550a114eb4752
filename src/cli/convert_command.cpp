#include <unistd.h>

#include "all_formats.h"
#include "all_writers.h"
#include "commands.h"
#include "messages.h"
#include "signals.h"
#include "verification.h"
#include "vmconvert/convert/choose_format.h"

namespace vmconvert::cli {
namespace {

bool shows_progress(const Options& options) {
  if (options.progress == "always") return true;
  return options.progress == "auto" && options.verbosity >= 0 && ::isatty(STDERR_FILENO) == 1;
}

/// Reads what was written, like any other input. @returns whether it is usable
bool verify_output(const Options& options, const GuestMachine& machine) {
  ConvertRequest request;
  request.input = options.request.output;
  // Not every output can be told by its content. Each output format is an input format, too.
  request.from =
      choose_output_format(all_writers(), options.request.to, options.request.output).name;
  request.read.machine = machine;
  request.kernel = options.request.kernel;
  ConsoleDiagnostics diagnostics(options.verbosity);
  return print_verification(request, diagnostics);
}

}  // namespace

int run_convert(const Options& options) {
  TemporaryFiles temporaries;
  const SignalGuard guard(temporaries);
  ConsoleDiagnostics diagnostics(options.verbosity);
  GuestMachine machine;
  {
    ProgressBar progress(options.request.output, shows_progress(options));
    machine = convert(options.request,
                      {all_formats(), all_writers(), diagnostics, progress, temporaries});
  }
  const bool usable = !options.verify || verify_output(options, machine);
  return diagnostics.lost() ? kLost : usable ? kDone : kDoubtful;
}

}  // namespace vmconvert::cli
