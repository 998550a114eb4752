#include <cstdio>
#include <string>

#include "all_formats.h"
#include "commands.h"
#include "messages.h"
#include "verification.h"
#include "vmconvert/convert/choose_format.h"
#include "vmconvert/convert/verify.h"
#include "vmconvert/io/input.h"

namespace vmconvert::cli {
namespace {

const char* mark(Finding::State state) {
  switch (state) {
    case Finding::State::good:
      return "ok";
    case Finding::State::absent:
      return "none";
    case Finding::State::doubtful:
      return "DOUBT";
  }
  return "";
}

}  // namespace

bool print_verification(const ConvertRequest& request, Diagnostics& diagnostics) {
  const Input input = Input::open(request.input, request.read.salvage, diagnostics);
  const Format& format = choose_format(all_formats(), request.from, *input.source());
  GuestImage image = read_image(format, input, request.read, diagnostics);
  const auto findings = verify(image, request.kernel, diagnostics);
  std::printf("%-5s  %-13s %s\n", "ok", "format", std::string(format.name).c_str());
  for (const Finding& finding : findings) {
    std::printf("%-5s  %-13s %s\n", mark(finding.state), finding.what.c_str(),
                finding.text.c_str());
  }
  return is_usable(findings);
}

int run_verify(const Options& options) {
  ConsoleDiagnostics diagnostics(options.verbosity);
  if (!print_verification(options.request, diagnostics)) return kDoubtful;
  return diagnostics.lost() ? kLost : kDone;
}

}  // namespace vmconvert::cli
