#pragma once

#include <cstdint>

#include "vmconvert/io/byte_source.h"

namespace vmconvert::qemu::qcow2 {

enum class Encryption : std::uint8_t { none, aes, luks };
enum class Compression : std::uint8_t { zlib, zstd };

/// The header, proven: sizes derived from it can be computed with.
struct Header {
  std::uint32_t version = 0;       ///< 2 or 3
  std::uint32_t cluster_bits = 0;  ///< 9 to 21
  std::uint64_t disk_size = 0;     ///< bytes the guest sees now; a snapshot may have its own
  std::uint32_t snapshot_count = 0;
  std::uint64_t snapshots_offset = 0;
  Encryption encryption = Encryption::none;
  Compression compression = Compression::zlib;
  bool has_backing_file = false;
  bool external_data = false;
  bool extended_l2 = false;
  bool marked_corrupt = false;

  std::uint64_t cluster_size() const { return std::uint64_t{1} << cluster_bits; }
  std::uint64_t l2_entry_size() const { return extended_l2 ? 16 : 8; }
  std::uint64_t l2_entries() const { return cluster_size() / l2_entry_size(); }
  /// Bytes that one L1 entry maps; at most 2^39.
  std::uint64_t l1_span() const { return cluster_size() * l2_entries(); }
};

/// Reads the header of version 2 or 3 and its extensions. What can be listed but not read
/// (encryption, an external data file) is no error here.
/// @throws Error(corrupt), or Error(unsupported) naming a feature that is not known
Header read_header(const ByteSource& image);

/// @throws Error(unsupported) if the clusters are encrypted or lie in another file
void require_readable_clusters(const ByteSource& image, const Header& header);

}  // namespace vmconvert::qemu::qcow2
