#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "qemu/qcow2_header.h"
#include "vmconvert/base/diagnostics.h"
#include "vmconvert/model/metadata.h"

namespace vmconvert::qemu::qcow2 {

/// An entry of the snapshot table.
struct SnapshotEntry {
  Snapshot facts;
  FileOffset at;  ///< of the entry
  std::uint64_t l1_table_offset = 0;
  std::uint32_t l1_size = 0;    ///< entries
  std::uint64_t disk_size = 0;  ///< bytes, when the snapshot was made
};

/// The snapshot table, in its order, snapshots of the disk alone included.
/// @throws Error(corrupt) if it does not lie within the image
std::vector<SnapshotEntry> read_snapshots(const ByteSource& image, const Header& header);

/// The snapshot whose machine state is to be read: the only one that has any, or the one that
/// `wanted` names if it is not empty. As in QEMU (qcow2-snapshot.c, find_snapshot_by_id_or_name),
/// an ID wins over the name of another.
/// @throws Error(usage) listing the snapshots if the choice is open or names none with state;
///         Error(unsupported) if there is no machine state
const SnapshotEntry& choose_snapshot(const std::vector<SnapshotEntry>& snapshots,
                                     const std::string& wanted, const ByteSource& image,
                                     const Header& header, Diagnostics& diagnostics);

/// When it was made: "2026-11-25T04:40:46Z".
std::string date_text(const Snapshot& snapshot);

/// `1 "name"`, for messages.
std::string label(const Snapshot& snapshot);

}  // namespace vmconvert::qemu::qcow2
