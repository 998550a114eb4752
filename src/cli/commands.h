#pragma once

#include <string>

#include "vmconvert/convert/convert.h"

namespace vmconvert::cli {

/// Exit codes, as documented.
inline constexpr int kDone = 0, kFailed = 1, kUsage = 2, kLost = 3;

/// What the program is asked to do.
enum class Command { convert, formats, extract };

/// What the command line said.
struct Options {
  Command command = Command::convert;
  ConvertRequest request;  ///< of the other commands the input side and `force`
  std::string progress = "auto";
  int verbosity = 0;
  std::string screenshot;  ///< extract: where the picture goes; empty: nowhere
};

/// Parses the arguments. @returns an exit code if there is nothing left to do (help, version, a
/// usage error, which is printed)
std::optional<int> parse_arguments(int argc, char** argv, Options& options);

/// vmconvert INPUT -o OUTPUT. @throws Error
int run_convert(const Options& options);

/// vmconvert extract INPUT. @throws Error
int run_extract(const Options& options);

/// vmconvert formats
int run_formats();

}  // namespace vmconvert::cli
