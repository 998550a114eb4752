#pragma once

#include <atomic>
#include <csignal>
#include <thread>

#include "vmconvert/io/output_file.h"

namespace vmconvert::cli {

/// While it lives, SIGINT, SIGTERM and SIGHUP remove the temporary files and then end the program
/// as they would have. They are taken by a thread of their own, so no copy is interrupted half-way
/// and no handler has to be async-signal-safe. Create it before any other thread, and let it live
/// longer than the temporary files.
class SignalGuard {
 public:
  explicit SignalGuard(TemporaryFiles& temporaries);
  SignalGuard(const SignalGuard&) = delete;
  SignalGuard& operator=(const SignalGuard&) = delete;
  ~SignalGuard();

 private:
  sigset_t mask_before_{};
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace vmconvert::cli
