#pragma once

#include <memory>
#include <string>

#include "vmconvert/io/byte_sink.h"
#include "vmconvert/io/output_file.h"

namespace vmconvert {

/// What messages call an output: its path, or "standard output".
std::string output_name(const std::string& output);

/// Refuses an output that cannot be written, before any work is done.
/// @param input   path of what is read, "-" is standard input; must not be the same file
/// @param output  path; "-" is standard output
/// @param binary  the output is not for a terminal
/// @throws Error(usage, io)
void check_output(const std::string& input, const std::string& output, bool force, bool binary);

/// True if two outputs would be one file, whatever their paths look like, or both standard output.
bool is_same_output(const std::string& a, const std::string& b);

/// One output while it is written: a file that appears whole with commit() or not at all; standard
/// output, a pipe or a character device, which takes bytes in order.
class OutputTarget {
 public:
  /// @param output  path; "-" is standard output
  /// @param sparse  zeros become holes of a file
  /// @throws as check_output_target() does; Error(io) if a pipe cannot be opened
  OutputTarget(const std::string& output, bool force, bool sparse, TemporaryFiles& temporaries);

  ByteSink& sink() { return *sink_; }
  /// Bytes that may still be written; the largest number there is where nobody can tell.
  std::uint64_t free_bytes() const;
  /// Says that all is written: OutputFile::finish(). @throws as it does
  void finish();
  /// Makes a file appear under its name. @throws as OutputFile::commit() does
  void commit();

 private:
  std::unique_ptr<OutputFile> file_;  ///< nullptr for what takes bytes in order
  UniqueFd stream_;
  std::unique_ptr<ByteSink> sink_;
};

}  // namespace vmconvert
