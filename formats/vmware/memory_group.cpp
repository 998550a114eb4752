#include "vmware/memory_group.h"

#include <map>

#include "vmconvert/base/text.h"

namespace vmconvert::vmware {
namespace {

// Real files have two regions at most. Larger: a hostile file costs more memory.
constexpr std::size_t kMostRegions = 4096;

using Field = std::optional<std::uint64_t>;

struct RegionTags {
  Field page_num, ppn, size;
};

class GroupReader {
 public:
  GroupReader(const Checkpoint& checkpoint, bool salvage, Diagnostics& diagnostics)
      : checkpoint_(checkpoint), salvage_(salvage), diagnostics_(diagnostics) {}

  MemoryGroup read() {
    const Group* group = checkpoint_.find("memory");
    if (group == nullptr) return {};
    try {
      checkpoint_.walk(*group, [&](const Tag& tag) {
        visit(tag);
        return true;
      });
    } catch (const Error& error) {
      // A memory image that the end of the file cuts off is dealt with where its bytes are needed.
      const bool cut = group_.memory && !group_.memory->complete();
      if (!cut) {
        lose(error);
        // Without its regions memory would be placed by a rule that need not be true of it.
        if (tags_.empty()) throw;
      }
    }
    finish_regions();
    return std::move(group_);
  }

 private:
  [[noreturn]] void fail(const Tag& tag, const std::string& why) const {
    throw Error(ErrorKind::corrupt, checkpoint_.source()->name(), tag.at.value,
                label(tag) + ' ' + why);
  }
  void lose(const Error& error) {
    if (!salvage_ || error.kind() != ErrorKind::corrupt) throw error;
    diagnostics_.loss("", std::nullopt, error.what());
  }

  void visit(const Tag& tag) {
    if (tag.name == "Memory") {
      if (group_.memory) fail(tag, "comes twice");
      group_.memory = tag;
      return;
    }
    if (tag.name == "regionsCount" && tag.index_count == 0) {
      count_ = required_number(tag);
      return;
    }
    if (tag.index_count != 1) return;
    if (tag.name == "regionPageNum") set(tag, &RegionTags::page_num);
    if (tag.name == "regionPPN") set(tag, &RegionTags::ppn);
    if (tag.name == "regionSize") set(tag, &RegionTags::size);
  }

  std::uint64_t required_number(const Tag& tag) const {
    const auto value = checkpoint_.number(tag);
    if (!value) fail(tag, "is not a number");
    return *value;
  }

  void set(const Tag& tag, Field RegionTags::*field) {
    if (tags_.size() == kMostRegions && !tags_.contains(tag.indices[0]))
      fail(tag, "is of one region too many");
    Field& to = tags_[tag.indices[0]].*field;
    const std::uint64_t value = required_number(tag);
    // Which of two would be true is not known: readers differ.
    if (to && *to != value) fail(tag, "comes twice with different values");
    to = value;
  }

  void finish_regions() {
    group_.has_regions = !tags_.empty() || count_.value_or(0) != 0;
    std::uint64_t incomplete = 0;
    for (const auto& [index, tags] : tags_) {
      if (!tags.page_num || !tags.ppn || !tags.size) {
        ++incomplete;
        continue;
      }
      if (*tags.size == 0) continue;
      group_.regions.push_back({index, *tags.page_num, *tags.ppn, *tags.size});
    }
    const std::uint64_t complete = tags_.size() - incomplete;
    if (incomplete != 0) {
      lose(Error(ErrorKind::corrupt, checkpoint_.source()->name(), std::nullopt,
                 counted(incomplete, "region") +
                     " without one of regionPageNum, regionPPN and regionSize"));
    }
    if (count_.value_or(0) > complete) {
      lose(Error(ErrorKind::corrupt, checkpoint_.source()->name(), std::nullopt,
                 "regionsCount says " + counted(*count_, "region") + ", " +
                     std::to_string(complete) + " of them complete"));
    } else if (count_ && *count_ != complete) {
      diagnostics_.warn(checkpoint_.source()->name(),
                        "regionsCount says " + counted(*count_, "region") + ", all " +
                            std::to_string(complete) + " that are described are used");
    }
  }

  const Checkpoint& checkpoint_;
  bool salvage_;
  Diagnostics& diagnostics_;
  MemoryGroup group_;
  std::optional<std::uint64_t> count_;
  std::map<std::uint32_t, RegionTags> tags_;
};

}  // namespace

MemoryGroup read_memory_group(const Checkpoint& checkpoint, bool salvage,
                              Diagnostics& diagnostics) {
  return GroupReader(checkpoint, salvage, diagnostics).read();
}

}  // namespace vmconvert::vmware
