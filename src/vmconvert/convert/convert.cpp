#include "vmconvert/convert/convert.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "vmconvert/base/text.h"
#include "vmconvert/convert/choose_format.h"
#include "vmconvert/io/byte_sink.h"
#include "vmconvert/io/input.h"

namespace vmconvert {
namespace {

bool same_file(const std::string& input, const std::string& output) {
  struct stat in {};
  struct stat out {};
  const int got_in = input == "-" ? ::fstat(STDIN_FILENO, &in) : ::stat(input.c_str(), &in);
  const int got_out = output == "-" ? ::fstat(STDOUT_FILENO, &out) : ::stat(output.c_str(), &out);
  return got_in == 0 && got_out == 0 && in.st_dev == out.st_dev && in.st_ino == out.st_ino &&
         (S_ISREG(in.st_mode) || S_ISBLK(in.st_mode));
}

bool is_terminal(const std::string& output) {
  struct stat status {};
  if (::stat(output.c_str(), &status) != 0 || !S_ISCHR(status.st_mode)) return false;
  const UniqueFd fd(::open(output.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  return fd && ::isatty(fd.get()) == 1;
}

/// True for outputs that exist and take bytes in order: a FIFO, /dev/null.
bool is_stream(const std::string& output) {
  struct stat status {};
  return ::stat(output.c_str(), &status) == 0 &&
         (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode));
}

std::string output_name(const ConvertRequest& request) {
  return request.output == "-" ? "standard output" : request.output;
}

/// Refuses an output that cannot be written, before any work is done.
void check_output(const ConvertRequest& request) {
  if (same_file(request.input, request.output)) {
    throw Error(ErrorKind::usage, output_name(request), std::nullopt, "is the input itself");
  }
  const bool terminal =
      request.output == "-" ? ::isatty(STDOUT_FILENO) == 1 : is_terminal(request.output);
  if (terminal) {
    throw Error(ErrorKind::usage, output_name(request), std::nullopt,
                "is a terminal; redirect it to a file or pipe");
  }
  if (request.output != "-" && !is_stream(request.output)) {
    check_output_target(request.output, request.force);
  }
}

void check_space(const OutputPlan& plan, const GuestImage& image, const OutputFile& file,
                 bool sparse) {
  const std::uint64_t needed = sparse ? data_bytes(plan, image) : plan.size;
  const std::uint64_t free = file.free_bytes();
  if (needed <= free) return;
  throw Error(ErrorKind::io, file.target(), std::nullopt,
              "not enough room: " + human_size(needed) + " needed, " + human_size(free) + " free");
}

void write_output(const OutputPlan& plan, const GuestImage& image, const ConvertRequest& request,
                  const ConvertContext& context) {
  if (request.output == "-") {
    StreamSink sink(STDOUT_FILENO, output_name(request));
    execute(plan, image, sink, 1, context.progress);
    return;
  }
  if (is_stream(request.output)) {
    const UniqueFd fd(::open(request.output.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY));
    if (!fd) throw io_error(request.output, std::nullopt, "open", errno);
    StreamSink sink(fd.get(), request.output);
    execute(plan, image, sink, 1, context.progress);
    return;
  }
  OutputFile file(request.output, request.force, context.temporaries);
  check_space(plan, image, file, request.sparse);
  FileSink sink(file.fd(), request.output, request.sparse);
  execute(plan, image, sink, request.threads, context.progress);
  file.commit();
}

}  // namespace

void convert(const ConvertRequest& request, const ConvertContext& context) {
  const OutputFormat& writer = choose_output_format(context.writers, request.to, request.output);
  check_output(request);

  const Input input = Input::open(request.input, request.read.salvage, context.diagnostics);
  const std::string& name = input.source()->name();
  const Format& format = choose_format(context.formats, request.from, *input.source());
  context.diagnostics.decision(name, "input format " + std::string(format.name));
  const GuestImage image = format.read(input, request.read, context.diagnostics);
  if (image.runs.empty())
    throw Error(ErrorKind::corrupt, name, std::nullopt, "holds no guest memory");

  const OutputPlan plan = writer.plan(image, request.write);
  context.diagnostics.decision(output_name(request), "output format " + std::string(writer.name) +
                                                         ", " + human_size(plan.size));
  write_output(plan, image, request, context);
}

}  // namespace vmconvert
