#include "vmconvert/convert/output_target.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <limits>
#include <system_error>

#include "vmconvert/base/error.h"

namespace vmconvert {
namespace {

bool same_file(const std::string& input, const std::string& output) {
  struct stat in {};
  struct stat out {};
  const int got_in = input == "-" ? ::fstat(STDIN_FILENO, &in) : ::stat(input.c_str(), &in);
  const int got_out = output == "-" ? ::fstat(STDOUT_FILENO, &out) : ::stat(output.c_str(), &out);
  return got_in == 0 && got_out == 0 && in.st_dev == out.st_dev && in.st_ino == out.st_ino &&
         (S_ISREG(in.st_mode) || S_ISBLK(in.st_mode));
}

bool is_terminal(const std::string& output) {
  if (output == "-") return ::isatty(STDOUT_FILENO) == 1;
  struct stat status {};
  if (::stat(output.c_str(), &status) != 0 || !S_ISCHR(status.st_mode)) return false;
  const UniqueFd fd(::open(output.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  return fd && ::isatty(fd.get()) == 1;
}

/// True for outputs that exist and take bytes in order: a FIFO, /dev/null.
bool is_stream(const std::string& output) {
  struct stat status {};
  return ::stat(output.c_str(), &status) == 0 &&
         (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode));
}

}  // namespace

std::string output_name(const std::string& output) {
  return output == "-" ? "standard output" : output;
}

void check_output(const std::string& input, const std::string& output, bool force, bool binary) {
  if (same_file(input, output)) {
    throw Error(ErrorKind::usage, output_name(output), std::nullopt, "is the input itself");
  }
  if (binary && is_terminal(output)) {
    throw Error(ErrorKind::usage, output_name(output), std::nullopt,
                "is a terminal; redirect it to a file or pipe");
  }
  if (output != "-" && !is_stream(output)) check_output_target(output, force);
}

bool is_same_output(const std::string& a, const std::string& b) {
  if (a == b) return true;
  if (a == "-" || b == "-") return false;
  const auto place = [](const std::string& path) {
    std::error_code error;
    return std::filesystem::weakly_canonical(std::filesystem::absolute(path, error), error);
  };
  const auto first = place(a);
  return !first.empty() && first == place(b);
}

OutputTarget::OutputTarget(const std::string& output, bool force, bool sparse,
                           TemporaryFiles& temporaries) {
  if (output == "-") {
    sink_ = std::make_unique<StreamSink>(STDOUT_FILENO, output_name(output));
  } else if (is_stream(output)) {
    stream_ = UniqueFd(::open(output.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY));
    if (!stream_) throw io_error(output, std::nullopt, "open", errno);
    sink_ = std::make_unique<StreamSink>(stream_.get(), output);
  } else {
    file_ = std::make_unique<OutputFile>(output, force, temporaries);
    sink_ = std::make_unique<FileSink>(file_->fd(), output, sparse);
  }
}

std::uint64_t OutputTarget::free_bytes() const {
  return file_ ? file_->free_bytes() : std::numeric_limits<std::uint64_t>::max();
}

void OutputTarget::finish() {
  if (file_) file_->finish();
}

void OutputTarget::commit() {
  if (file_) file_->commit();
}

}  // namespace vmconvert
