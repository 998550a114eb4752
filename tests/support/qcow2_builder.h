#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "support/byte_writer.h"

namespace vmconvert::test {

/// How a cluster of the machine state is kept.
enum class Kept { plain, packed, zero, hole };

/// A page that packs to about a third, whatever packs it.
Bytes soft_page(std::uint64_t number);

/// A snapshot of a qcow2 image, field by field.
struct Qcow2State {
  std::string id = "1";
  std::string name = "before";
  std::uint32_t date = 1764045646;  // 2025-11-25T04:40:46Z
  std::uint64_t vm_clock = 0;
  Bytes state;                                    ///< empty: of the disk alone
  std::optional<std::uint64_t> disk_size;         ///< when it was made, if not what the header has
  std::uint32_t extra_size = 24;                  ///< bytes of extra data
  std::optional<std::uint64_t> size_field;        ///< of the state, instead of the truth
  std::optional<std::uint32_t> small_size_field;  ///< the one of 32 bits, instead of the truth
  std::optional<std::uint64_t> l1_offset_field;
  std::optional<std::uint32_t> l1_size_field;
};

/// A qcow2 image with machine states, sound enough for `qemu-img check`.
struct Qcow2Image {
  std::uint32_t version = 3;
  std::uint32_t cluster_bits = 9;
  std::uint64_t disk_size = 40'000;
  bool extended = false;
  bool zstd = false;
  bool reversed = false;  ///< the state's clusters lie in the file last one first
  bool luks = false;
  std::string backing_file;
  std::uint64_t more_features = 0;    ///< added to incompatible_features
  std::uint32_t header_length = 112;  ///< version 3
  Bytes extensions;                   ///< behind the header
  std::vector<Qcow2State> snapshots;
  /// How the cluster with this number is kept; with extended L2 zeros are never stored.
  std::function<Kept(std::uint64_t)> kept = [](std::uint64_t) { return Kept::plain; };

  Bytes bytes() const;

  std::uint64_t cluster() const { return std::uint64_t{1} << cluster_bits; }
};

}  // namespace vmconvert::test
