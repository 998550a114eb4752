#pragma once

#include <string>

#include "vmconvert/convert/convert.h"

namespace vmconvert::cli {

/// Exit codes, as documented.
inline constexpr int kDone = 0, kFailed = 1, kUsage = 2, kLost = 3, kDoubtful = 4;

/// What the program is asked to do.
enum class Command { convert, info, extract, verify, formats };

/// What `extract` is asked for. Paths are empty where something is not wanted; "-" is standard
/// output.
struct ExtractRequest {
  std::string config;      ///< the configuration of the machine
  std::string vmdesc;      ///< the description of the device state
  std::string screenshot;  ///< what the display showed, as PNG
  std::string all;         ///< folder for everything there is
  bool list = false;       ///< show what there is
};

/// What the command line said.
struct Options {
  Command command = Command::convert;
  ConvertRequest request;  ///< of the other commands the input side and `force`
  ExtractRequest extract;
  bool json = false;     ///< info: for programs
  bool tags = false;     ///< info: what the input is made of
  bool hexdump = false;  ///< info: the same, with bytes
  bool verify = false;   ///< convert: look at the output afterwards, as `verify` does
  std::string progress = "auto";
  int verbosity = 0;
};

/// Parses the arguments. @returns an exit code if there is nothing left to do (help, version, a
/// usage error, which is printed)
std::optional<int> parse_arguments(int argc, char** argv, Options& options);

/// vmconvert INPUT -o OUTPUT. @throws Error
int run_convert(const Options& options);

/// vmconvert info INPUT. @throws Error
int run_info(const Options& options);

/// vmconvert extract INPUT. @throws Error
int run_extract(const Options& options);

/// vmconvert verify INPUT. @throws Error
int run_verify(const Options& options);

/// vmconvert formats
int run_formats();

}  // namespace vmconvert::cli
