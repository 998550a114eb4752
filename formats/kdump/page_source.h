#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kdump/kdump_header.h"
#include "vmconvert/base/diagnostics.h"
#include "vmconvert/io/page_codec.h"

namespace vmconvert::kdump {

/// Where a page lies in a dump.
struct PageDescriptor {
  static constexpr std::uint64_t kSize = 24;  ///< bytes on disk

  FileRange data;
  bool compressed = false;
  PageCodec codec{};  ///< if it is compressed
  friend bool operator==(const PageDescriptor&, const PageDescriptor&) = default;
};

/// Parses a descriptor. @param at  its place, for messages
/// @throws Error(corrupt) if it points outside the dump, Error(unsupported) for an unknown codec
PageDescriptor parse_descriptor(std::span<const std::byte, PageDescriptor::kSize> bytes,
                                const ByteSource& dump, const Header& header, FileOffset at);

/// The pages of a dump one after the other, in the order of their descriptors: page i at
/// i * block_size. Decompresses what is read, with buffers of its own for each call, and keeps
/// nothing between calls.
class PageSource final : public ByteSource {
 public:
  /// @param damage_is_zero  give zeros for pages that cannot be decompressed; for salvage, whose
  ///                        runs do not show those pages
  PageSource(std::shared_ptr<const ByteSource> dump, Header header, std::uint64_t pages,
             bool damage_is_zero);

  const std::string& name() const override { return dump_->name(); }
  std::uint64_t size() const override { return pages_ * header_.block_size; }
  void read_at(FileOffset at, std::span<std::byte> out) const override;

  /// Decompresses one page. @throws Error(corrupt) if it is damaged, Error(io) as the dump does
  void read_page(const PageDescriptor& page, std::span<std::byte> out) const;
  /// Descriptors of `count` pages from `first` on; one that is damaged has no data if damage is
  /// zero.
  /// @throws as parse_descriptor() does
  std::vector<PageDescriptor> descriptors(std::uint64_t first, std::size_t count) const;

 private:
  class Reader;
  void decode(const PageDescriptor& page, std::span<const std::byte> packed,
              std::span<std::byte> out) const;

  std::shared_ptr<const ByteSource> dump_;
  Header header_;
  std::uint64_t pages_;
  bool damage_is_zero_;
};

}  // namespace vmconvert::kdump
