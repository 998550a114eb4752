#include "signals.h"

#include <pthread.h>
#include <unistd.h>

#include <csignal>
#include <system_error>

#include "vmconvert/base/error.h"

namespace vmconvert::cli {
namespace {

constexpr int kStopThread = SIGUSR1;

/// What is ignored stays so: nohup ignores SIGHUP for its program, a shell SIGINT for a background
/// job. (A blocked signal would reach sigwait() in spite of that.)
bool is_ignored(int signal) {
  struct sigaction action {};
  return ::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

sigset_t caught_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, kStopThread);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    if (!is_ignored(signal)) sigaddset(&set, signal);
  }
  return set;
}

void wait_for_signal(const sigset_t& set, const std::atomic<bool>& stop,
                     TemporaryFiles& temporaries) {
  int signal = 0;
  do {
    if (sigwait(&set, &signal) != 0) return;
  } while (signal == kStopThread && !stop);  // somebody else sent it
  if (signal == kStopThread) return;
  const auto none_anew = temporaries.unlink_all();
  std::signal(signal, SIG_DFL);
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, signal);
  pthread_sigmask(SIG_UNBLOCK, &one, nullptr);
  ::kill(::getpid(), signal);
}

}  // namespace

SignalGuard::SignalGuard(TemporaryFiles& temporaries) {
  const sigset_t set = caught_signals();
  pthread_sigmask(SIG_BLOCK, &set, &mask_before_);
  try {
    thread_ = std::thread([this, set, &temporaries] { wait_for_signal(set, stop_, temporaries); });
  } catch (const std::system_error& error) {
    throw io_error("", std::nullopt, "start a thread", error.code().value());
  }
}

SignalGuard::~SignalGuard() {
  stop_ = true;
  pthread_kill(thread_.native_handle(), kStopThread);
  thread_.join();
  // One that came in the last moment ends the program here; there are no temporary files any more.
  pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
}

}  // namespace vmconvert::cli
