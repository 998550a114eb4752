#pragma once

#include <string>

#include "vmconvert/io/output_file.h"

namespace vmconvert {

/// Refuses what OutputFolder would refuse, before any work is done.
/// @throws Error(usage) if the path is no folder, or exists and `force` is not set; Error(io) if it
/// cannot be looked up
void check_output_folder(const std::string& path, bool force);

/// A folder for several outputs, mode 0700 since memory holds secrets. One that was made here
/// vanishes again without keep(), once the files in it have.
class OutputFolder {
 public:
  /// @param force  an existing folder is used
  /// @throws as check_output_folder() does; Error(io) if it cannot be made
  OutputFolder(const std::string& path, bool force, TemporaryFiles& temporaries);
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;
  ~OutputFolder();

  void keep();

 private:
  std::string path_;
  TemporaryFiles& temporaries_;
  bool unfinished_ = false;  ///< made here and not kept yet
};

}  // namespace vmconvert
