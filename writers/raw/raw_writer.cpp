#include "raw/raw_writer.h"

#include <array>
#include <string>
#include <string_view>

#include "vmconvert/base/error.h"
#include "vmconvert/base/text.h"

namespace vmconvert::raw {
namespace {

using namespace std::string_view_literals;

OutputPlan plan_raw(const GuestImage& image, const WriteOptions& options) {
  PlanBuilder plan;
  for (const GuestRange extent : image.runs.extents()) {
    const FileOffset at{extent.begin().value};
    if (const std::uint64_t gap = at - plan.position(); gap > options.max_gap) {
      throw Error(ErrorKind::unsupported, "", std::nullopt,
                  "a raw image would have a hole of " + human_size(gap) + " from " +
                      hex(plan.position().value) + " to " + hex(at.value) +
                      ", more than --max-gap " + human_size(options.max_gap) + ", in front of " +
                      human_size(extent.size()) + " (use --to elf or --to lime)");
    }
    plan.advance_to(at);
    plan.guest(extent);
  }
  return std::move(plan).finish();
}

constexpr std::array kSuffixes{".raw"sv, ".dd"sv, ".img"sv, ".mem"sv, ".bin"sv};

}  // namespace

constinit const OutputFormat kRaw{
    .name = "raw",
    .summary = "padded raw image: byte N of the file is guest-physical address N",
    .suffixes = kSuffixes,
    .plan = plan_raw,
};

}  // namespace vmconvert::raw
