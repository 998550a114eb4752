#include "lime/lime_writer.h"

#include <array>
#include <string_view>
#include <vector>

#include "vmconvert/base/packed.h"

namespace vmconvert::lime {
namespace {

using namespace std::string_view_literals;

// Truth: LiME, doc/README.md, "LiME Memory Range Header", version 1. Page: docs/writers/lime.md.
struct LimeHeader {
  le32 magic{0x4c694d45};  //  0  bytes "EMiL"
  le32 version{1};         //  4
  le64 s_addr;             //  8  first byte of the record
  le64 e_addr;             // 16  last byte, INCLUSIVE
  le64 reserved;           // 24  zero
};
static_assert(sizeof(LimeHeader) == 32);

OutputPlan plan_lime(const GuestImage& image, const WriteOptions&) {
  PlanBuilder plan;
  for (const GuestRange extent : image.runs.extents()) {
    const LimeHeader header{.s_addr = extent.begin().value, .e_addr = extent.end().value - 1};
    const auto* first = reinterpret_cast<const std::byte*>(&header);
    plan.literal(std::vector(first, first + sizeof header));
    plan.guest(extent);
  }
  return std::move(plan).finish();
}

constexpr std::array kSuffixes{".lime"sv};

}  // namespace

constinit const OutputFormat kLime{
    .name = "lime",
    .summary = "LiME image: one record per range of memory",
    .suffixes = kSuffixes,
    .plan = plan_lime,
};

}  // namespace vmconvert::lime
