#pragma once

#include <string>

#include "vmconvert/base/diagnostics.h"
#include "vmconvert/io/neighbours.h"
#include "vmconvert/model/metadata.h"

namespace vmconvert::vmware {

/// Adds what the list of snapshots (.vmsd) beside a state says of it: id, name, date, description,
/// and the name of the list. Adds nothing if there is no such list.
/// @param path  of the state
void add_snapshot_facts(const Neighbours& folder, const std::string& path, Metadata& metadata,
                        Diagnostics& diagnostics);

}  // namespace vmconvert::vmware
