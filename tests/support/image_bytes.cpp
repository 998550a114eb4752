#include "support/image_bytes.h"

#include <algorithm>
#include <stdexcept>

namespace vmconvert::test {
namespace {

/// The byte at `inside` of a run.
std::byte byte_of(const GuestImage& image, const Run& run, std::uint64_t inside) {
  if (const auto* fill = std::get_if<Filled>(&run.backing)) return fill->value;
  const InFile& file = std::get<InFile>(run.backing);
  const std::uint64_t page = image.runs.page_size();
  std::byte value{};
  image.sources.at(file.source)
      ->read_at(file.at + (inside / page * file.stride + inside % page), std::span(&value, 1));
  return value;
}

/// The bytes of [begin, begin + size) of a run, page by page where pages are.
void copy_run(const GuestImage& image, const Run& run, std::uint64_t begin,
              std::span<std::byte> out) {
  const std::uint64_t page = image.runs.page_size();
  for (std::uint64_t done = 0; done < out.size();) {
    const std::uint64_t inside = begin + done;
    const std::uint64_t n = std::min<std::uint64_t>(out.size() - done, page - inside % page);
    const auto piece = out.subspan(done, n);
    if (const auto* file = std::get_if<InFile>(&run.backing)) {
      image.sources.at(file->source)
          ->read_at(file->at + (inside / page * file->stride + inside % page), piece);
    } else {
      std::fill(piece.begin(), piece.end(), byte_of(image, run, inside));
    }
    done += n;
  }
}

}  // namespace

Bytes guest_bytes(const GuestImage& image, std::uint64_t begin, std::size_t size) {
  Bytes bytes(size);
  const GuestRange range = GuestRange::sized({begin}, size);
  std::uint64_t covered = 0;
  for (const Run& run : image.runs) {
    const GuestRange part = run.guest.intersection(range);
    if (part.empty()) continue;
    copy_run(image, run, part.begin() - run.guest.begin(),
             std::span(bytes).subspan(part.begin() - range.begin(), part.size()));
    covered += part.size();
  }
  if (covered != size) throw std::logic_error("a part of this guest memory is in no run");
  return bytes;
}

Bytes naive_output(const OutputPlan& plan, const GuestImage& image) {
  Bytes output(plan.size);
  for (const Part& part : plan.parts) {
    if (const auto* literal = std::get_if<Literal>(&part.content)) {
      std::copy(literal->bytes.begin(), literal->bytes.end(),
                output.begin() + static_cast<std::ptrdiff_t>(part.at.value));
    } else if (const auto* generated = std::get_if<Generated>(&part.content)) {
      generated->source->read_at({0}, std::span(output).subspan(part.at.value, part.size));
    } else {
      const Bytes bytes = guest_bytes(image, std::get<GuestData>(part.content).begin.value,
                                      static_cast<std::size_t>(part.size));
      std::copy(bytes.begin(), bytes.end(),
                output.begin() + static_cast<std::ptrdiff_t>(part.at.value));
    }
  }
  return output;
}

Bytes executed(const OutputPlan& plan, const GuestImage& image, unsigned threads) {
  MemorySink sink;
  CountingProgress progress;
  execute(plan, image, sink, threads, progress);
  return sink.bytes();
}

}  // namespace vmconvert::test
