#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "support/byte_writer.h"

namespace vmconvert::test {

/// The numbers that page descriptors use for codecs.
enum KdumpFlags : unsigned { kStored = 0, kZlib = 1, kLzo = 2, kSnappy = 4, kZstd = 0x20 };

/// A page as a kdump keeps it.
struct KdumpPage {
  Bytes content;             ///< of the block size
  unsigned flags = kZlib;    ///< how it is compressed
  bool shares_zero = false;  ///< its descriptor is that of the zero page in front of all data
};

/// A kdump-compressed dump.
struct Kdump {
  bool is_64 = true, big = false;
  unsigned version = 6;
  unsigned block_size = 4096;
  unsigned status = 1;
  unsigned level = 1;
  unsigned split = 0;
  std::string signature = "KDUMP   ";
  std::string machine = "x86_64", release{};
  Bytes notes{};
  std::string vmcoreinfo{};  ///< kept outside of the notes
  std::map<std::uint64_t, KdumpPage> pages{};
  std::set<std::uint64_t> excluded{};
  std::optional<std::uint64_t> max_mapnr{};

  Bytes bytes() const;
  /// Places in bytes().
  std::uint64_t bitmap_at() const;
  std::uint64_t descriptors_at() const;
  std::uint64_t data_at() const { return descriptors_at() + 24 * pages.size(); }

 private:
  std::uint64_t frames() const;
  std::uint64_t bitmap_size() const;
  std::uint64_t sub_header_size() const;
  Bytes sub_header() const;
};

Bytes compress_page(unsigned flags, std::span<const std::byte> plain);

/// One record of a flattened dump.
Bytes flat_record(std::uint64_t offset, std::span<const std::byte> bytes);
Bytes flat_head();
/// A flattened dump of `plain` in records of this size, the last ones first.
Bytes flattened(const Bytes& plain, std::size_t record = 1000);

/// One AVML block: header, snappy frames of at most `chunk` bytes, length.
Bytes avml_block(std::uint64_t gpa, std::span<const std::byte> plain, bool compressed = true,
                 std::size_t chunk = 65536);
/// One LiME record.
Bytes lime_record(std::uint64_t gpa, std::span<const std::byte> plain);

}  // namespace vmconvert::test
