#include "vmconvert/convert/copy_engine.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace vmconvert {
namespace {

// Larger: fewer reads; smaller: stays in the processor's cache between read and write.
constexpr std::uint64_t kWindow = 1024 * 1024;
// Bytes between two runs that are cheaper to read and drop than a second read would be.
constexpr std::uint64_t kLargestWaste = 64 * 1024;
// What a worker claims at a time: many per thread, so that all end at about the same time.
constexpr std::uint64_t kUnit = 16 * 1024 * 1024;
// Granularity of holes.
constexpr std::size_t kZeroCheck = 4096;
constexpr std::size_t kMostPieces = 1024;  // IOV_MAX of Linux

bool is_zero(std::span<const std::byte> bytes) {
  return bytes.empty() || (bytes.front() == std::byte{0} &&
                           std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

/// The part of a run's memory that a sink can share with its source, whose place in the output is
/// `at`; empty if it is none, or too little to be worth a call.
FileRange shareable(const InFile& file, std::uint64_t size, FileOffset at) {
  constexpr std::uint64_t kAlign = ByteSink::kShareAlignment, kWorthIt = 64 * 1024;
  if (file.at.value % kAlign != 0 || at.value % kAlign != 0 || size < kWorthIt) return {};
  return FileRange::sized(file.at, size / kAlign * kAlign);
}

/// Turns bytes that come in order into few large writes, and zeros into holes.
class Emitter {
 public:
  Emitter(ByteSink& sink, FileOffset at) : sink_(sink), at_(at) {}

  /// `bytes` must stay as they are until flush().
  void bytes(ConstBytes bytes) {
    while (!bytes.empty()) {
      const ConstBytes part = bytes.first(std::min(bytes.size(), kZeroCheck));
      if (is_zero(part)) {
        zeros(part.size());
      } else {
        data(part);
      }
      bytes = bytes.subspan(part.size());
    }
  }
  void zeros(std::uint64_t size) {
    if (!pieces_.empty()) flush();
    zeros_ += size;
  }
  /// Shares a part of a source with the sink. @returns false if that is not possible
  bool share(const ByteSource& source, FileRange part) {
    flush();
    if (!sink_.share_at(at_, source, part)) return false;
    at_ = at_ + part.size();
    return true;
  }
  /// Hands everything to the sink.
  void flush() {
    if (!pieces_.empty()) {
      sink_.write_at(at_, pieces_);
      at_ = at_ + size_;
      pieces_.clear();
      size_ = 0;
    }
    if (zeros_ != 0) {
      sink_.zero_at(at_, zeros_);
      at_ = at_ + zeros_;
      zeros_ = 0;
    }
  }

 private:
  void data(ConstBytes part) {
    if (zeros_ != 0 || pieces_.size() == kMostPieces) flush();
    size_ += part.size();
    if (!pieces_.empty() && pieces_.back().data() + pieces_.back().size() == part.data()) {
      pieces_.back() = ConstBytes(pieces_.back().data(), pieces_.back().size() + part.size());
    } else {
      pieces_.push_back(part);
    }
  }

  ByteSink& sink_;
  FileOffset at_;  ///< where the pieces, or the zeros, will go; only one of them is pending
  std::vector<ConstBytes> pieces_;
  std::uint64_t size_ = 0;
  std::uint64_t zeros_ = 0;
};

/// Copies units of one plan. One per thread.
class Worker {
 public:
  Worker(const OutputPlan& plan, const GuestImage& image, ByteSink& sink)
      : plan_(plan),
        image_(image),
        sink_(sink),
        shares_(image.sources.size(), true),
        buffer_(kWindow) {}

  /// Produces the output's bytes of `unit`.
  void copy(FileRange unit) {
    Emitter emitter(sink_, unit.begin());
    FileOffset at = unit.begin();
    auto part = std::partition_point(plan_.parts.begin(), plan_.parts.end(),
                                     [&](const Part& p) { return p.end() <= unit.begin(); });
    for (; part != plan_.parts.end() && part->at < unit.end(); ++part) {
      const FileRange range = FileRange::sized(part->at, part->size).intersection(unit);
      emitter.zeros(range.begin() - at);
      copy_part(*part, range, emitter);
      at = range.end();
    }
    emitter.zeros(unit.end() - at);
    emitter.flush();
  }

 private:
  /// Guest memory that one read will bring: pages `stride` apart, `offset` into the window.
  struct Data {
    std::uint64_t offset, size, stride;
  };
  struct Zeros {
    std::uint64_t size;
  };
  struct Window {
    SourceId source = 0;
    FileRange range;
    std::vector<std::variant<Data, Zeros>> content;  ///< in the order of the output
  };

  void copy_part(const Part& part, FileRange range, Emitter& emitter) {
    const std::uint64_t skipped = range.begin() - part.at;
    if (const auto* literal = std::get_if<Literal>(&part.content)) {
      emitter.bytes(
          std::span(literal->bytes)
              .subspan(static_cast<std::size_t>(skipped), static_cast<std::size_t>(range.size())));
      return;
    }
    if (const auto* generated = std::get_if<Generated>(&part.content)) {
      copy_generated(*generated->source, FileRange::sized({skipped}, range.size()), emitter);
      return;
    }
    const GuestPhysAddr begin = std::get<GuestData>(part.content).begin + skipped;
    image_.runs.for_each_in(GuestRange::sized(begin, range.size()), [&](const Run& run) {
      if (const auto* fill = std::get_if<Filled>(&run.backing)) {
        copy_fill(fill->value, run.guest.size(), emitter);
      } else {
        share_or_copy(std::get<InFile>(run.backing), run.guest.size(),
                      range.begin() + (run.guest.begin() - begin), emitter);
      }
    });
    drain(emitter);
  }

  void copy_generated(const ByteSource& source, FileRange range, Emitter& emitter) {
    for (FileOffset at = range.begin(); at < range.end();) {
      const auto bytes = std::span(buffer_).first(
          static_cast<std::size_t>(std::min<std::uint64_t>(range.end() - at, buffer_.size())));
      source.read_at(at, bytes);
      emitter.bytes(bytes);
      emitter.flush();  // the buffer is about to be used again
      at = at + bytes.size();
    }
  }

  void copy_fill(std::byte value, std::uint64_t size, Emitter& emitter) {
    if (value == std::byte{0}) {
      window_.content.emplace_back(Zeros{size});
      return;
    }
    drain(emitter);
    const std::vector<std::byte> filled(std::min<std::uint64_t>(size, kWindow), value);
    for (; size != 0; size -= std::min<std::uint64_t>(size, filled.size())) {
      emitter.bytes(std::span(filled).first(std::min<std::uint64_t>(size, filled.size())));
    }
    emitter.flush();
  }

  /// @param at  place in the output
  void share_or_copy(InFile file, std::uint64_t size, FileOffset at, Emitter& emitter) {
    const FileRange part =
        file.stride == image_.runs.page_size() ? shareable(file, size, at) : FileRange();
    const ByteSource& source = *image_.sources.at(file.source);
    if (!part.empty() && shares_.at(file.source) && source.descriptor() >= 0) {
      drain(emitter);
      // What did not work once will not work another time.
      shares_.at(file.source) = emitter.share(source, part);
      if (shares_.at(file.source)) {
        file.at = part.end();
        size -= part.size();
      }
    }
    copy_file(file, size, emitter);
  }

  void copy_file(InFile file, std::uint64_t size, Emitter& emitter) {
    const std::uint64_t page = image_.runs.page_size();
    const bool plain = file.stride == page;
    while (size != 0) {
      const std::uint64_t room = window_room(file);
      std::uint64_t fits = plain ? std::min(room, size) : 0;
      if (!plain && room >= page) fits = std::min(((room - page) / file.stride + 1) * page, size);
      if (fits == 0) {
        drain(emitter);
        continue;
      }
      const std::uint64_t span = plain ? fits : (fits / page - 1) * file.stride + page;
      add_to_window(file, fits, span);
      file.at = file.at + (plain ? fits : fits / page * file.stride);
      size -= fits;
    }
  }

  /// How many bytes from file.at on the window can still take in.
  std::uint64_t window_room(const InFile& file) const {
    if (window_.range.empty()) return kWindow;
    const FileOffset end = window_.range.end();
    if (file.source != window_.source || file.at < end || file.at - end > kLargestWaste) return 0;
    const std::uint64_t used = file.at - window_.range.begin();
    return used < kWindow ? kWindow - used : 0;
  }

  void add_to_window(const InFile& file, std::uint64_t size, std::uint64_t span) {
    if (window_.range.empty()) {
      window_.source = file.source;
      window_.range = FileRange::sized(file.at, span);
    } else {
      window_.range = FileRange::between(window_.range.begin(), file.at + span);
    }
    window_.content.emplace_back(Data{file.at - window_.range.begin(), size, file.stride});
  }

  /// Reads the window with one call and emits what it holds.
  void drain(Emitter& emitter) {
    const std::uint64_t page = image_.runs.page_size();
    const auto bytes = std::span(buffer_).first(static_cast<std::size_t>(window_.range.size()));
    if (!bytes.empty()) image_.sources.at(window_.source)->read_at(window_.range.begin(), bytes);
    for (const auto& item : window_.content) {
      if (const auto* zeros = std::get_if<Zeros>(&item)) {
        emitter.zeros(zeros->size);
        continue;
      }
      Data data = std::get<Data>(item);
      const std::uint64_t step = data.stride == page ? data.size : page;
      while (data.size != 0) {
        emitter.bytes(
            bytes.subspan(static_cast<std::size_t>(data.offset), static_cast<std::size_t>(step)));
        data.offset += data.stride;
        data.size -= step;
      }
    }
    emitter.flush();  // the buffer is about to be used again
    window_.content.clear();
    window_.range = FileRange();
  }

  const OutputPlan& plan_;
  const GuestImage& image_;
  ByteSink& sink_;
  std::vector<bool> shares_;  ///< by SourceId: storage can be shared, as far as is known
  std::vector<std::byte> buffer_;
  Window window_;
};

/// Where a unit that would begin at `at` begins: moved down to a page border of the guest, since a
/// page of a strided run is copied as a whole.
FileOffset unit_border(const OutputPlan& plan, std::uint64_t at, std::uint64_t page) {
  if (at >= plan.size) return {plan.size};
  const auto part = std::partition_point(plan.parts.begin(), plan.parts.end(),
                                         [&](const Part& p) { return p.end().value <= at; });
  if (part == plan.parts.end() || part->at.value >= at) return {at};
  const auto* guest = std::get_if<GuestData>(&part->content);
  if (guest == nullptr) return {at};
  const std::uint64_t inside = at - part->at.value;
  return {at - std::min(inside, (guest->begin.value + inside) % page)};
}

/// The first failure of several threads.
class FirstError {
 public:
  void set(std::exception_ptr error) {
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = std::move(error);
    happened_ = true;
  }
  bool happened() const { return happened_; }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::mutex mutex_;
  std::exception_ptr error_;
  std::atomic<bool> happened_ = false;
};

}  // namespace

void execute(const OutputPlan& plan, const GuestImage& image, ByteSink& sink, unsigned threads,
             Progress& progress) {
  sink.begin(plan.size);
  progress.begin(plan.size);
  std::atomic<std::uint64_t> next_unit = 0;
  FirstError error;
  const auto work = [&] {
    try {
      Worker worker(plan, image, sink);
      while (!error.happened()) {
        const std::uint64_t begin = next_unit.fetch_add(1) * kUnit;
        if (begin >= plan.size) break;
        const auto unit =
            FileRange::between(unit_border(plan, begin, image.runs.page_size()),
                               unit_border(plan, begin + kUnit, image.runs.page_size()));
        worker.copy(unit);
        progress.advance(unit.size());
      }
    } catch (...) {
      error.set(std::current_exception());
    }
  };
  {
    std::vector<std::jthread> others;
    const unsigned wanted = sink.seekable() ? threads : 1;
    try {
      for (unsigned i = 1; i < wanted; ++i) others.emplace_back(work);
    } catch (const std::system_error&) {
      // The system has no more threads to give: those that run do the work.
    }
    work();
  }
  error.rethrow();
}

std::uint64_t data_bytes(const OutputPlan& plan, const GuestImage& image,
                         const std::vector<bool>& shares) {
  std::uint64_t bytes = 0;
  for (const Part& part : plan.parts) {
    if (const auto* guest = std::get_if<GuestData>(&part.content)) {
      image.runs.for_each_in(GuestRange::sized(guest->begin, part.size), [&](const Run& run) {
        const auto* fill = std::get_if<Filled>(&run.backing);
        if (fill == nullptr || fill->value != std::byte{0}) bytes += run.guest.size();
        const auto* file = std::get_if<InFile>(&run.backing);
        if (file == nullptr || file->source >= shares.size() || !shares[file->source]) return;
        if (file->stride != image.runs.page_size()) return;
        const FileOffset at = part.at + (run.guest.begin() - guest->begin);
        bytes -= shareable(*file, run.guest.size(), at).size();
      });
    } else {
      bytes += part.size;
    }
  }
  return bytes;
}

}  // namespace vmconvert
