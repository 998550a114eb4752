#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>

#include "commands.h"
#include "messages.h"

using namespace vmconvert;

namespace {

/// Descriptors 0 to 2 that the caller closed would be given to the next files we open, and messages
/// would land in them. What takes their place fails when it is used.
void occupy_standard_descriptors() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) != -1) continue;
    // Takes the lowest free number, which is `fd`.
    if (::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0) std::_Exit(cli::kFailed);
  }
}

/// Writes out what is still buffered. @throws Error(io), also for a file system that only now tells
/// of a failure
void finish_standard_output() {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) {
    const int copy = ::dup(STDOUT_FILENO);  // so that the number stays taken
    if (copy < 0 || ::close(copy) == 0) return;
  }
  throw io_error("standard output", std::nullopt, "write", errno);
}

int run_command(const cli::Options& options) {
  switch (options.command) {
    case cli::Command::convert:
      return cli::run_convert(options);
    case cli::Command::info:
      return cli::run_info(options);
    case cli::Command::extract:
      return cli::run_extract(options);
    case cli::Command::verify:
      return cli::run_verify(options);
    case cli::Command::formats:
      return cli::run_formats();
  }
  return cli::kFailed;
}

int run(int argc, char** argv) {
  cli::Options options;
  const auto parsed = cli::parse_arguments(argc, argv, options);
  const int code = parsed ? *parsed : run_command(options);
  // A conversion into a file has nothing to do with standard output, whatever that is.
  const bool to_file = !parsed && options.command == cli::Command::convert &&
                       options.request.output != "-" && !options.verify;
  if (!to_file) finish_standard_output();
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  occupy_standard_descriptors();
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is a write error with a message,
  std::signal(SIGXFSZ, SIG_IGN);  // and so is a file larger than the process may write
  try {
    return run(argc, argv);
  } catch (const Error& error) {
    cli::print_error(error.what());
    return error.kind() == ErrorKind::usage ? cli::kUsage : cli::kFailed;
  } catch (const std::bad_alloc&) {
    cli::print_error("out of memory");
  } catch (const std::exception& error) {
    cli::print_error(error.what());
  }
  return cli::kFailed;
}
