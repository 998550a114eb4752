#include <csignal>
#include <cstdio>
#include <exception>
#include <new>

#include "commands.h"
#include "messages.h"

using namespace vmconvert;

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is a write error with a message
  try {
    cli::Options options;
    if (const auto code = cli::parse_arguments(argc, argv, options)) return *code;
    return options.list_formats ? cli::run_formats() : cli::run_convert(options);
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
