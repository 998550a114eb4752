#include "qemu/qcow2_reader.h"

#include <array>
#include <bit>
#include <cstdio>
#include <string>

#include "qemu/qcow2_format.h"
#include "qemu/qcow2_header.h"
#include "qemu/qcow2_snapshots.h"
#include "qemu/qcow2_state.h"
#include "qemu/qevm_reader.h"
#include "vmconvert/base/packed.h"
#include "vmconvert/base/text.h"

namespace vmconvert::qemu {
namespace {

Match probe(const ProbeWindow& window) noexcept {
  const bool magic = window.head.size() >= 4 &&
                     load<std::uint32_t>(window.head, std::endian::big) == qcow2::kMagic;
  return magic ? Match::yes : Match::no;
}

/// Seconds, "13.456789012 s".
std::string clock_text(std::uint64_t nanoseconds) {
  constexpr std::uint64_t kSecond = 1'000'000'000;
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%llu.%09llu s",
                static_cast<unsigned long long>(nanoseconds / kSecond),
                static_cast<unsigned long long>(nanoseconds % kSecond));
  return text.data();
}

void add_facts(const qcow2::Header& header, const Snapshot& snapshot, Metadata& metadata) {
  metadata.facts.push_back({"snapshot.id", snapshot.id});
  metadata.facts.push_back({"snapshot.name", snapshot.name});
  metadata.facts.push_back({"snapshot.date", qcow2::date_text(snapshot)});
  metadata.facts.push_back({"snapshot.vm_clock", clock_text(snapshot.vm_clock)});
  metadata.facts.push_back({"qcow2.version", std::to_string(header.version)});
  metadata.facts.push_back({"qcow2.cluster_size", std::to_string(header.cluster_size())});
}

GuestImage read(const Input& input, const ReadOptions& options, Diagnostics& diagnostics) {
  const ByteSource& image = *input.source();
  const qcow2::Header header = qcow2::read_header(image);
  qcow2::require_readable_clusters(image, header);
  if (header.marked_corrupt) {
    diagnostics.warn(
        image.name(),
        "QEMU marked this image as corrupt; look at qemu-img check before trusting it");
  }
  const auto snapshots = qcow2::read_snapshots(image, header);
  const qcow2::SnapshotEntry& chosen =
      qcow2::choose_snapshot(snapshots, options.snapshot, image, header, diagnostics);
  diagnostics.decision(image.name(), "snapshot " + qcow2::label(chosen.facts) + " of " +
                                         qcow2::date_text(chosen.facts) + ", " +
                                         human_size(chosen.facts.state_size) + " of machine state");
  const auto state =
      qcow2::open_state(input.source(), header, chosen, options.salvage, diagnostics);
  GuestImage guest = read_qevm(state, {0}, options, diagnostics);
  add_facts(header, chosen.facts, guest.metadata);
  return guest;
}

std::vector<Snapshot> snapshots(const Input& input) {
  const qcow2::Header header = qcow2::read_header(*input.source());
  std::vector<Snapshot> found;
  for (const qcow2::SnapshotEntry& entry : qcow2::read_snapshots(*input.source(), header)) {
    found.push_back(entry.facts);
  }
  return found;
}

}  // namespace

constinit const Format kQcow2{
    .name = "qcow2",
    .summary = "QEMU disk image with saved machine state (savevm, internal snapshots)",
    .probe = probe,
    .read = read,
    .snapshots = snapshots,
};

}  // namespace vmconvert::qemu
