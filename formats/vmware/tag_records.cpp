#include "vmware/tag_records.h"

#include "vmconvert/base/text.h"

namespace vmconvert::vmware {
namespace {

// A machine with 128 vCPUs and a tag for each register has fewer. Larger: a hostile file costs more
// memory.
constexpr std::size_t kMostRecords = 200'000;

}  // namespace

TagRecords::TagRecords(const Checkpoint& checkpoint, SourceId source) : checkpoint_(checkpoint) {
  list_.source = source;
  for (const Group& group : checkpoint.groups())
    list_.groups.push_back({group.name, group.begin, group.length, {}, ""});
}

RecordGroup& TagRecords::list_of(const Group& group) {
  return list_.groups.at(static_cast<std::size_t>(&group - checkpoint_.groups().data()));
}

void TagRecords::add(const Group& group, const Tag& tag) {
  if (count_ == kMostRecords) {
    ++left_out_;
    return;
  }
  ++count_;
  list_of(group).records.push_back(
      {.name = tag.name,
       .indices = {tag.indices.begin(), tag.indices.begin() + tag.index_count},
       .place = tag.stored,
       .size = tag.needs_expansion() ? tag.memory_size : tag.stored_size,
       .encoded = tag.needs_expansion(),
       .number = checkpoint_.number(tag)});
}

void TagRecords::add_damage(const Group& group, const std::string& why) {
  list_of(group).damage = why;
}

RecordList TagRecords::finish(Diagnostics& diagnostics) {
  if (left_out_ != 0) {
    diagnostics.warn(checkpoint_.source()->name(), "has " + counted(count_ + left_out_, "tag") +
                                                       ", of which the first " +
                                                       std::to_string(count_) + " are listed");
  }
  return std::move(list_);
}

}  // namespace vmconvert::vmware
