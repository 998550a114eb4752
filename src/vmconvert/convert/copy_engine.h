#pragma once

#include <cstdint>
#include <vector>

#include "vmconvert/io/byte_sink.h"
#include "vmconvert/model/guest_image.h"
#include "vmconvert/model/output_plan.h"

namespace vmconvert {

/// Told about bytes of the output that are done. Called from many threads.
class Progress {
 public:
  Progress() = default;
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  virtual ~Progress() = default;
  virtual void begin(std::uint64_t total) = 0;
  virtual void advance(std::uint64_t bytes) = 0;
};

/// Writes what the plan says: the only place that moves guest memory.
///
/// A seekable sink is written by `threads` threads, each with a buffer of about 1 MiB; any other by
/// the caller's thread, in order. Zero pages are handed to ByteSink::zero_at. Memory that lies in a
/// source as it will in the sink is shared where the sink can, page borders permitting.
/// @param threads  at least 1
/// @throws Error of the source or sink that failed first; all threads have ended by then
void execute(const OutputPlan& plan, const GuestImage& image, ByteSink& sink, unsigned threads,
             Progress& progress);

/// Bytes that execute() will at most hand to ByteSink::write_at; the rest is zero, or shared.
/// @param shares  by SourceId: whether ByteSink::share_at() works for it; empty: for none
std::uint64_t data_bytes(const OutputPlan& plan, const GuestImage& image,
                         const std::vector<bool>& shares = {});

}  // namespace vmconvert
