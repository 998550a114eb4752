#pragma once

#include <vector>

#include "vmconvert/base/diagnostics.h"
#include "vmconvert/model/format.h"
#include "vmware/checkpoint.h"
#include "vmware/memory_layout.h"

namespace vmconvert::vmware {

/// Adds what people want to know of a state: facts, embedded files, the list of tags; as far as
/// `options` ask for it. Damage of a group is a warning.
/// @param state  the checkpoint as an input, for what lies beside it
/// @param source  that of the checkpoint in the image
void describe_state(const Input& state, const Checkpoint& checkpoint, SourceId source,
                    const ReadOptions& options, GuestImage& image, Diagnostics& diagnostics);

/// Adds where memory lies, in the guest and in its file.
void add_region_facts(const std::vector<Placement>& placements, const MemoryImage& memory,
                      Metadata& metadata);

}  // namespace vmconvert::vmware
