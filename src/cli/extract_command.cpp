#include <array>

#include "all_formats.h"
#include "commands.h"
#include "messages.h"
#include "signals.h"
#include "vmconvert/convert/choose_format.h"
#include "vmconvert/convert/output_target.h"
#include "vmconvert/convert/png.h"

namespace vmconvert::cli {
namespace {

void write_bytes(ConstBytes bytes, ByteSink& sink) {
  const std::array pieces{bytes};
  sink.begin(bytes.size());
  sink.write_at({0}, pieces);
}

}  // namespace

int run_extract(const Options& options) {
  TemporaryFiles temporaries;
  const SignalGuard guard(temporaries);
  ConsoleDiagnostics diagnostics(options.verbosity);
  const ConvertRequest& request = options.request;
  check_output(request.input, options.screenshot, request.force, true);

  const Input input = Input::open(request.input, request.read.salvage, diagnostics);
  const std::string& name = input.source()->name();
  const Format& format = choose_format(all_formats(), request.from, *input.source());
  diagnostics.decision(name, "input format " + std::string(format.name));
  ReadOptions read = request.read;
  read.screen = true;
  const GuestImage image = read_image(format, input, read, diagnostics);
  if (!image.screen) {
    throw Error(ErrorKind::unsupported, name, std::nullopt, "holds no screen");
  }
  OutputTarget target(options.screenshot, request.force, false, temporaries);
  write_bytes(encode_png(*image.screen), target.sink());
  target.commit();
  return diagnostics.lost() ? kLost : kDone;
}

}  // namespace vmconvert::cli
