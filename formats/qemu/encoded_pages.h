#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vmconvert/base/address.h"
#include "vmconvert/io/byte_source.h"
#include "vmconvert/io/cursor.h"
#include "vmconvert/model/run_list.h"

namespace vmconvert::qemu {

/// The source of an image that holds the decoded pages; the stream itself is source 0.
inline constexpr SourceId kDecodedPages = 1;

/// Where the pages lie that a stream does not hold as their bytes. Each has a slot, and slot i is
/// page i of the source kDecodedPages. 8 bytes per slot.
class EncodedPages {
 public:
  enum class Form : std::uint8_t {
    compressed,  ///< `where`: offset of the record's be32 length in the stream
    delta,       ///< `where`: offset of the record's encoding byte in the stream
    stored,      ///< `where`: number of the page in the store of decoded pages
  };
  struct Place {
    Form form = Form::compressed;
    std::uint64_t where = 0;
    friend bool operator==(const Place&, const Place&) = default;
  };

  /// @returns the new slot  @throws Error(unsupported) if `where` is 2^62 or more
  std::uint64_t add(Place place);
  Place at(std::uint64_t slot) const;
  /// @throws as add() does
  void set(std::uint64_t slot, Place place);
  std::uint64_t size() const { return places_.size(); }

 private:
  static std::uint64_t packed(Place place);

  std::vector<std::uint64_t> places_;  ///< form in the upper two bits
};

/// The length of a compressed page, checked. @throws Error(corrupt) if it is impossible
std::uint32_t read_compressed_length(Cursor& cursor, std::uint32_t page_size);
/// The encoding byte and the length of a delta, checked. @throws Error(corrupt, unsupported)
std::uint16_t read_delta_length(Cursor& cursor, std::uint32_t page_size);

/// Inflates pages one after the other. Not for use by two threads.
class Inflater {
 public:
  Inflater();
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  ~Inflater();
  /// @returns why `packed` is not one zlib stream of just `page.size()` bytes; empty if it is
  std::string_view inflate(std::span<const std::byte> packed, std::span<std::byte> page);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Reads encoded pages of a stream in any order; cheap if the order is that of the stream. Not for
/// use by two threads.
class PageDecoder {
 public:
  PageDecoder(const ByteSource& stream, std::uint32_t page_size);
  /// The page whose record is a compressed one. @returns what is damaged; empty if nothing is
  std::string_view read_compressed(FileOffset record, std::span<std::byte> page);
  /// Changes `page` by a delta. @returns what is damaged; empty if nothing is
  std::string_view apply_delta(FileOffset record, std::span<std::byte> page);

 private:
  std::uint32_t page_size_;
  Cursor cursor_;
  Inflater inflater_;
  std::vector<std::byte> data_;
};

/// The source kDecodedPages: decodes a page whenever it is read, and keeps none.
class DecodedPages final : public ByteSource {
 public:
  /// @param places  none of them a delta  @param store  the stored pages; may be null without any
  DecodedPages(std::shared_ptr<const ByteSource> stream, std::shared_ptr<const ByteSource> store,
               EncodedPages places, std::uint32_t page_size);

  const std::string& name() const override { return stream_->name(); }
  std::uint64_t size() const override { return places_.size() * page_size_; }
  /// @throws Error(corrupt) with the place of the record if a page is damaged; Error(io)
  void read_at(FileOffset at, std::span<std::byte> out) const override;

 private:
  void read_page(PageDecoder& decoder, std::uint64_t slot, std::span<std::byte> page) const;

  std::shared_ptr<const ByteSource> stream_;
  std::shared_ptr<const ByteSource> store_;
  EncodedPages places_;
  std::uint32_t page_size_;
};

}  // namespace vmconvert::qemu
