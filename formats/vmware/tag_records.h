#pragma once

#include <string>

#include "vmconvert/base/diagnostics.h"
#include "vmconvert/model/metadata.h"
#include "vmware/checkpoint.h"

namespace vmconvert::vmware {

/// Collects groups and tags as records.
class TagRecords {
 public:
  /// @param source  that of the checkpoint in the image
  TagRecords(const Checkpoint& checkpoint, SourceId source);

  /// @throws Error(io) as the source does
  void add(const Group& group, const Tag& tag);
  void add_damage(const Group& group, const std::string& why);
  /// What was collected. Warns if that is not all.
  RecordList finish(Diagnostics& diagnostics);

 private:
  RecordGroup& list_of(const Group& group);

  const Checkpoint& checkpoint_;
  RecordList list_;
  std::size_t count_ = 0, left_out_ = 0;
};

}  // namespace vmconvert::vmware
