#pragma once

#include <memory>
#include <optional>
#include <string>

#include "support/byte_writer.h"
#include "support/collecting_diagnostics.h"
#include "vmconvert/model/format.h"

namespace vmconvert::test {

/// What reading an input came to.
struct ReadResult {
  std::optional<GuestImage> image;  ///< nothing if an Error was thrown
  std::string error;                ///< its what()
  std::optional<ErrorKind> kind;
  std::unique_ptr<CollectingDiagnostics> diagnostics;

  bool has_decision(std::string_view text) const {
    return diagnostics->has(Diagnostics::Level::decision, text);
  }
  bool has_warning(std::string_view text) const {
    return diagnostics->has(Diagnostics::Level::warning, text);
  }
  bool has_loss(std::string_view text) const {
    return diagnostics->has(Diagnostics::Level::loss, text);
  }
};

/// Reads the source with the format that its content says, as the program would. Checks the
/// invariants of the image's runs, and that each run lies within its source.
/// @throws std::logic_error if they do not hold; nothing else
/// @param neighbours  files beside it, if there are any
ReadResult read_source(std::shared_ptr<const ByteSource> source, const ReadOptions& options = {},
                       std::shared_ptr<const Neighbours> neighbours = nullptr);

/// The same for bytes, under the name "input".
ReadResult read_bytes(Bytes bytes, const ReadOptions& options = {});

/// What an image promises to writers. @throws std::logic_error if it does not hold
void check_image(const GuestImage& image);

}  // namespace vmconvert::test
