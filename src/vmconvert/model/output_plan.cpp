#include "vmconvert/model/output_plan.h"

#include <stdexcept>
#include <utility>

namespace vmconvert {

void PlanBuilder::literal(std::vector<std::byte> bytes) {
  if (bytes.empty()) return;
  const std::uint64_t size = bytes.size();
  parts_.push_back({position_, size, Literal{std::move(bytes)}});
  position_ = position_ + size;
}

void PlanBuilder::guest(GuestRange range) {
  if (range.empty()) return;
  parts_.push_back({position_, range.size(), GuestData{range.begin()}});
  position_ = position_ + range.size();
}

void PlanBuilder::generated(std::shared_ptr<const ByteSource> source) {
  const std::uint64_t size = source->size();
  if (size == 0) return;
  parts_.push_back({position_, size, Generated{std::move(source)}});
  position_ = position_ + size;
}

void PlanBuilder::align(std::uint64_t alignment) {
  position_ = FileOffset{align_up(position_.value, alignment)};
}

void PlanBuilder::advance_to(FileOffset to) {
  if (to < position_) throw std::logic_error("a part would overlap the one before it");
  position_ = to;
}

OutputPlan PlanBuilder::finish() && { return {position_.value, std::move(parts_)}; }

}  // namespace vmconvert
