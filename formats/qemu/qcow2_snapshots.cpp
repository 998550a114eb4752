#include "qemu/qcow2_snapshots.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>

#include "qemu/qcow2_format.h"
#include "vmconvert/base/text.h"
#include "vmconvert/io/cursor.h"

namespace vmconvert::qemu::qcow2 {
namespace {

constexpr std::uint64_t kAlignment = 8;

//   0 l1_table_offset, 8 l1_size, 12 id_str_size u16, 14 name_size u16, 16 date_sec, 20 date_nsec,
//  24 vm_clock_nsec, 32 vm_state_size, 36 extra_data_size, 40 extra data, id, name, padding
SnapshotEntry read_entry(Cursor& cursor, const Header& header) {
  SnapshotEntry snapshot{.at = cursor.position(), .disk_size = header.disk_size};
  snapshot.l1_table_offset = cursor.read<std::uint64_t>("l1_table_offset");
  snapshot.l1_size = cursor.read<std::uint32_t>("l1_size");
  const auto id_size = cursor.read<std::uint16_t>("id_str_size");
  const auto name_size = cursor.read<std::uint16_t>("name_size");
  snapshot.facts.date = cursor.read<std::uint32_t>("date_sec");
  cursor.take(4, "date_nsec");
  snapshot.facts.vm_clock = cursor.read<std::uint64_t>("vm_clock_nsec");
  snapshot.facts.state_size = cursor.read<std::uint32_t>("vm_state_size");
  const auto extra_size = cursor.read<std::uint32_t>("extra_data_size");
  Cursor extra(cursor.source(), cursor.take(extra_size, "extra data"), std::endian::big);
  if (extra.remaining() >= 8)
    snapshot.facts.state_size = extra.read<std::uint64_t>("vm_state_size_large");
  if (extra.remaining() >= 8) snapshot.disk_size = extra.read<std::uint64_t>("disk_size");
  snapshot.facts.id = cursor.read_text(id_size, "id_str");
  snapshot.facts.name = cursor.read_text(name_size, "name");
  return snapshot;
}

std::string describe(const Snapshot& snapshot) {
  return label(snapshot) + " (" + date_text(snapshot) + ", " +
         (snapshot.state_size == 0 ? "disk alone" : human_size(snapshot.state_size)) + ")";
}

/// Every snapshot in one line, cut where there are too many to be of use.
std::string list(const std::vector<SnapshotEntry>& snapshots) {
  constexpr std::size_t kMostListed = 20;
  std::string text;
  for (std::size_t i = 0; i < std::min(snapshots.size(), kMostListed); ++i) {
    text += (i == 0 ? "" : ", ") + describe(snapshots[i].facts);
  }
  if (snapshots.size() > kMostListed)
    text += " and " + counted(snapshots.size() - kMostListed, "more snapshot");
  return text;
}

using Matches = std::vector<const SnapshotEntry*>;

Matches with(const std::vector<SnapshotEntry>& snapshots, std::string Snapshot::*member,
             const std::string& text) {
  Matches found;
  for (const SnapshotEntry& snapshot : snapshots) {
    if (snapshot.facts.*member == text) found.push_back(&snapshot);
  }
  return found;
}

const SnapshotEntry& choose_wanted(const std::vector<SnapshotEntry>& snapshots,
                                   const std::string& wanted, const ByteSource& image,
                                   Diagnostics& diagnostics) {
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorKind::usage, image.name(), std::nullopt, why);
  };
  const Matches by_id = with(snapshots, &Snapshot::id, wanted);
  const Matches by_name = with(snapshots, &Snapshot::name, wanted);
  const Matches& matches = by_id.empty() ? by_name : by_id;
  if (matches.empty()) {
    refuse(
        "there is no snapshot " + quoted(wanted) +
        (snapshots.empty() ? ": the image holds none" : " (there are: " + list(snapshots) + ")"));
  }
  if (matches.size() > 1) {
    refuse("--snapshot " + quoted(wanted) +
           (by_id.empty() ? " is the name of several; give the ID" : " is the ID of several") +
           " (there are: " + list(snapshots) + ")");
  }
  const SnapshotEntry& chosen = *matches.front();
  if (!by_id.empty() && std::any_of(by_name.begin(), by_name.end(),
                                    [&](const SnapshotEntry* other) { return other != &chosen; })) {
    diagnostics.warn(image.name(), "--snapshot " + quoted(wanted) +
                                       " is the ID of one snapshot and the name of another; the ID "
                                       "is taken, as QEMU does");
  }
  if (chosen.facts.state_size == 0) {
    refuse("snapshot " + label(chosen.facts) +
           " is of the disk alone; it holds no saved machine state");
  }
  return chosen;
}

[[noreturn]] void refuse_disk(const ByteSource& image, const Header& header, bool has_snapshots) {
  std::string text = "holds no saved machine state; it is a disk image";
  if (has_snapshots) {
    text +=
        " whose snapshots are of the disk alone (another disk of the machine may hold the state)";
  } else if (header.has_backing_file) {
    text += " (the backing file is not looked into)";
  }
  throw Error(ErrorKind::unsupported, image.name(), std::nullopt, text);
}

}  // namespace

std::vector<SnapshotEntry> read_snapshots(const ByteSource& image, const Header& header) {
  std::vector<SnapshotEntry> snapshots;
  if (header.snapshot_count == 0) return snapshots;
  if (header.snapshots_offset > image.size() ||
      header.snapshots_offset % header.cluster_size() != 0) {
    throw Error(ErrorKind::corrupt, image.name(), std::nullopt,
                "snapshots_offset " + hex(header.snapshots_offset) +
                    " is not the place of a cluster in the file");
  }
  const std::uint64_t size =
      std::min(image.size() - header.snapshots_offset, kLargestSnapshotTable);
  Cursor cursor(image, FileRange::sized({header.snapshots_offset}, size), std::endian::big);
  for (std::uint32_t i = 0; i < header.snapshot_count; ++i) {
    const std::uint64_t at = cursor.position().value;
    cursor.take(std::min(align_up(at, kAlignment) - at, cursor.remaining()), "padding");
    snapshots.push_back(read_entry(cursor, header));
  }
  return snapshots;
}

const SnapshotEntry& choose_snapshot(const std::vector<SnapshotEntry>& snapshots,
                                     const std::string& wanted, const ByteSource& image,
                                     const Header& header, Diagnostics& diagnostics) {
  if (!wanted.empty()) return choose_wanted(snapshots, wanted, image, diagnostics);
  Matches states;
  for (const SnapshotEntry& snapshot : snapshots) {
    if (snapshot.facts.state_size != 0) states.push_back(&snapshot);
  }
  if (states.empty()) refuse_disk(image, header, !snapshots.empty());
  if (states.size() > 1) {
    throw Error(ErrorKind::usage, image.name(), std::nullopt,
                "holds " + counted(states.size(), "saved state") +
                    "; choose one with --snapshot ID or NAME: " + list(snapshots));
  }
  return *states.front();
}

std::string date_text(const Snapshot& snapshot) {
  namespace time = std::chrono;
  const time::sys_seconds date{time::seconds{static_cast<std::int64_t>(snapshot.date)}};
  const auto midnight = time::floor<time::days>(date);
  const time::year_month_day day{midnight};
  const time::hh_mm_ss clock{date - midnight};
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02dZ",
                static_cast<int>(day.year()), static_cast<unsigned>(day.month()),
                static_cast<unsigned>(day.day()), static_cast<int>(clock.hours().count()),
                static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()));
  return text.data();
}

std::string label(const Snapshot& snapshot) {
  return printable(snapshot.id) + " " + quoted(snapshot.name);
}

}  // namespace vmconvert::qemu::qcow2
