#pragma once

#include <span>
#include <string>

#include "vmconvert/base/diagnostics.h"
#include "vmconvert/convert/copy_engine.h"
#include "vmconvert/io/output_file.h"
#include "vmconvert/kernel/find_kernel.h"
#include "vmconvert/model/format.h"
#include "vmconvert/model/machine.h"
#include "vmconvert/model/output_format.h"

namespace vmconvert {

/// One conversion, as asked for.
struct ConvertRequest {
  std::string input;     ///< path; "-" is standard input
  std::string output;    ///< path; "-" is standard output
  std::string from;      ///< input format, empty: told by content
  std::string to;        ///< output format, empty: told by the output's suffix
  bool force = false;    ///< replace an existing output
  bool sparse = true;    ///< zeros become holes
  unsigned threads = 1;  ///< at least 1
  std::string remap_log;  ///< path; empty: none. "-" is standard output
  ReadOptions read;
  KernelOptions kernel;
  WriteOptions write;
};

/// What convert() works with.
struct ConvertContext {
  std::span<const Format> formats;
  std::span<const OutputFormat> writers;
  Diagnostics& diagnostics;
  Progress& progress;
  TemporaryFiles& temporaries;
};

/// Reads the input and writes the output, whole or not at all.
/// @returns the guest's, which not every output tells
/// @throws Error
GuestMachine convert(const ConvertRequest& request, const ConvertContext& context);

}  // namespace vmconvert
