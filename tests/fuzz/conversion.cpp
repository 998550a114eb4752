#include "conversion.h"

#include <algorithm>
#include <optional>
#include <stdexcept>

#include "all_writers.h"
#include "support/collecting_diagnostics.h"
#include "support/image_bytes.h"
#include "support/reading.h"

namespace vmconvert::test {
namespace {

// Larger: more of the engine is run; smaller: more inputs are tried per second.
constexpr std::uint64_t kLargestOutput = 256 << 10;

void check_plan(const OutputPlan& plan) {
  std::uint64_t at = 0;
  for (const Part& part : plan.parts) {
    if (part.at.value < at || part.size == 0) throw std::logic_error("parts of a plan overlap");
    at = part.end().value;
  }
  if (plan.size < at) throw std::logic_error("a plan is smaller than its parts");
}

/// Compressed pages are inflated when they are copied, so damage of one can show as late as here;
/// salvage has looked at them before.
void copy(const OutputPlan& plan, const GuestImage& image, bool salvage) {
  try {
    if (executed(plan, image) != naive_output(plan, image)) {
      throw std::logic_error("the copy engine and the runs disagree");
    }
  } catch (const Error&) {
    if (salvage) throw std::logic_error("salvage left damage in the image");
  }
}

void write(const OutputFormat& format, const GuestImage& image, bool salvage) {
  OutputPlan plan;
  try {
    plan = format.plan(image, {});
  } catch (const Error&) {
    return;  // a raw image may be too large
  }
  check_plan(plan);
  if (data_bytes(plan, image) > plan.size) throw std::logic_error("more data than output");
  if (plan.size <= kLargestOutput) copy(plan, image, salvage);
}

void check_screen(const Screen& screen) {
  if (screen.width == 0 || screen.height == 0 ||
      screen.rgb.size() != std::size_t{screen.width} * screen.height * 3) {
    throw std::logic_error("a screen is not of the size it says");
  }
}

/// Nothing if it is refused.
std::optional<GuestImage> read(const Format& format, std::shared_ptr<const ByteSource> source,
                               bool salvage,
                               std::shared_ptr<const Neighbours> neighbours = nullptr) {
  CollectingDiagnostics diagnostics;
  const Input input(std::move(source), salvage, std::move(neighbours));
  std::optional<GuestImage> image;
  try {
    image = format.read(input, {.salvage = salvage, .screen = true, .details = true, .records = true}, diagnostics);
  } catch (const Error&) {
    return std::nullopt;
  }
  if (!salvage && diagnostics.lost()) throw std::logic_error("a loss without salvage");
  check_image(*image);
  if (image->screen) check_screen(*image->screen);
  return image;
}

std::shared_ptr<const ByteSource> source_of(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  return std::make_shared<MemorySource>("input", Bytes(bytes.begin(), bytes.end()));
}

}  // namespace

void read_hostile(const Format& format, const std::uint8_t* data, std::size_t size) {
  for (const bool salvage : {false, true}) read(format, source_of(data, size), salvage);
}

void write_hostile(std::string_view writer, const GuestImage& image) {
  for (const OutputFormat& format : all_writers()) {
    if (format.name == writer) write(format, image, false);
  }
}

void convert_hostile(const Format& format, const std::uint8_t* data, std::size_t size,
                     std::shared_ptr<const Neighbours> neighbours) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const ProbeWindow window{bytes.first(std::min<std::size_t>(size, 64 * 1024)), size};
  if (format.probe != nullptr) format.probe(window);
  for (const bool salvage : {false, true}) {
    const auto image = read(format, source_of(data, size), salvage, neighbours);
    if (!image) continue;
    for (const OutputFormat& writer : all_writers()) write(writer, *image, salvage);
  }
}

}  // namespace vmconvert::test
