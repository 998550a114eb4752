#pragma once

#include <cstdint>
#include <mutex>
#include <set>
#include <string>

#include "vmconvert/io/unique_fd.h"

namespace vmconvert {

/// The temporary files and folders that exist now, so that a signal can take them away. Safe from
/// many threads.
class TemporaryFiles {
 public:
  /// Creates a file that nobody had before, mode 0600. @returns nothing if that fails; errno tells
  UniqueFd create(const std::string& path);
  /// Makes a folder, mode 0700. @returns false if that fails; errno tells
  bool create_folder(const std::string& path);
  /// Forgets one that was renamed or unlinked.
  void remove(const std::string& path);
  /// Unlinks all of them, and folders that are empty then. None is created as long as the lock is
  /// held.
  [[nodiscard]] std::unique_lock<std::mutex> unlink_all();

 private:
  std::mutex mutex_;
  std::set<std::string> paths_;
  std::set<std::string> folders_;
};

/// Refuses what OutputFile would refuse, before any work is done.
/// @throws Error(usage) if the target is no regular file, or exists and `force` is not set;
/// Error(io) if its folder is missing or cannot be written to
void check_output_target(const std::string& target, bool force);

/// A file that appears whole or not at all: written beside the target under a temporary name, mode
/// 0600 since memory holds secrets, and renamed by commit(). Without commit() it vanishes.
class OutputFile {
 public:
  /// @param force  an existing target is replaced by commit(); of a symbolic link, what it leads to
  /// @throws as check_output_target() does
  OutputFile(const std::string& target, bool force, TemporaryFiles& temporaries);
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  ~OutputFile();

  int fd() const { return fd_.get(); }
  const std::string& target() const { return target_; }
  /// Bytes that an unprivileged writer may still use on the file system; the largest number there
  /// is if the system does not tell.
  std::uint64_t free_bytes() const;
  /// Says that all is written, so that many files can wait for their commit() without a descriptor
  /// each. @throws Error(io)
  void finish();
  /// Makes the file appear under its name. @throws Error(io); Error(usage) if somebody created the
  /// target meanwhile and `force` is not set
  void commit();

 private:
  std::string target_;  ///< as the user named it
  std::string path_;    ///< where it is
  bool force_;
  TemporaryFiles& temporaries_;
  std::string temporary_;
  UniqueFd fd_;
};

}  // namespace vmconvert
