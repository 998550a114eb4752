#pragma once

#include "vmconvert/io/byte_source.h"
#include "vmconvert/model/run_list.h"

namespace vmconvert {

/// Adds memory that lies in a source as it is, from `at` on. Large holes of the source become zeros
/// that nobody has to read or to find.
/// @param id  of `source`, which must hold all of it
void add_plain_memory(RunListBuilder& runs, GuestRange guest, SourceId id, const ByteSource& source,
                      FileOffset at);

}  // namespace vmconvert
