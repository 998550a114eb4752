#include "qemu/encoded_pages.h"

#include <zlib.h>

#include <algorithm>
#include <bit>
#include <new>
#include <utility>

#include "qemu/xbzrle.h"
#include "vmconvert/base/error.h"
#include "vmconvert/base/text.h"

namespace vmconvert::qemu {
namespace {

constexpr unsigned kFormShift = 62;
constexpr std::uint64_t kWhere = (std::uint64_t{1} << kFormShift) - 1;
constexpr std::uint8_t kEncodingXbzrle = 1;  // QEMU, migration/ram.c, ENCODING_FLAG_XBZRLE

}  // namespace

std::uint64_t EncodedPages::packed(Place place) {
  if (place.where > kWhere) {
    throw Error(ErrorKind::unsupported, "", place.where, "encoded page lies beyond 2^62 bytes");
  }
  return static_cast<std::uint64_t>(place.form) << kFormShift | place.where;
}

std::uint64_t EncodedPages::add(Place place) {
  places_.push_back(packed(place));
  return places_.size() - 1;
}

void EncodedPages::set(std::uint64_t slot, Place place) { places_.at(slot) = packed(place); }

EncodedPages::Place EncodedPages::at(std::uint64_t slot) const {
  const std::uint64_t place = places_.at(slot);
  return {static_cast<Form>(place >> kFormShift), place & kWhere};
}

std::uint32_t read_compressed_length(Cursor& cursor, std::uint32_t page_size) {
  const auto size = cursor.read<std::uint32_t>("length of a compressed page");
  if (size > ::compressBound(page_size)) {  // as QEMU's own reader checks
    cursor.fail("length of a compressed page",
                hex(size) + " is more than a page can take: " + hex(::compressBound(page_size)));
  }
  return size;
}

std::uint16_t read_delta_length(Cursor& cursor, std::uint32_t page_size) {
  const auto encoding = cursor.read<std::uint8_t>("encoding of a delta");
  if (encoding != kEncodingXbzrle) {
    cursor.fail("encoding of a delta", hex(encoding) + " is unknown; only 1, XBZRLE, is known");
  }
  const auto size = cursor.read<std::uint16_t>("length of a delta");
  if (size > page_size) {
    cursor.fail("length of a delta", hex(size) + " is more than a page");
  }
  return size;
}

struct Inflater::State {
  z_stream stream{};
};

Inflater::Inflater() : state_(std::make_unique<State>()) {
  if (::inflateInit(&state_->stream) != Z_OK) throw std::bad_alloc();
}

Inflater::~Inflater() { ::inflateEnd(&state_->stream); }

std::string_view Inflater::inflate(std::span<const std::byte> packed, std::span<std::byte> page) {
  z_stream& stream = state_->stream;
  ::inflateReset(&stream);
  // zlib's interface is not const-correct; it does not write to its input.
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(page.data());
  stream.avail_out = static_cast<uInt>(page.size());
  const int result = ::inflate(&stream, Z_FINISH);
  if (result == Z_MEM_ERROR) throw std::bad_alloc();
  if (result != Z_STREAM_END) {
    const bool runs_over = result == Z_BUF_ERROR && stream.avail_out == 0 && stream.avail_in != 0;
    return runs_over ? "inflates to more than a page" : "is damaged";
  }
  if (stream.avail_out != 0) return "inflates to less than a page";
  if (stream.avail_in != 0) return "is shorter than its length says";
  return "";
}

PageDecoder::PageDecoder(const ByteSource& stream, std::uint32_t page_size)
    : page_size_(page_size),
      cursor_(stream, FileRange::sized({0}, stream.size()), std::endian::big) {}

std::string_view PageDecoder::read_compressed(FileOffset record, std::span<std::byte> page) {
  cursor_.seek(record, "compressed page");
  data_.resize(read_compressed_length(cursor_, page_size_));
  if (!cursor_.peek_bytes(data_)) return "is cut off";
  return inflater_.inflate(data_, page);
}

std::string_view PageDecoder::apply_delta(FileOffset record, std::span<std::byte> page) {
  cursor_.seek(record, "delta");
  data_.resize(read_delta_length(cursor_, page_size_));
  if (!cursor_.peek_bytes(data_)) return "is cut off";
  return apply_xbzrle(data_, page);
}

DecodedPages::DecodedPages(std::shared_ptr<const ByteSource> stream,
                           std::shared_ptr<const ByteSource> store, EncodedPages places,
                           std::uint32_t page_size)
    : stream_(std::move(stream)),
      store_(std::move(store)),
      places_(std::move(places)),
      page_size_(page_size) {}

void DecodedPages::read_at(FileOffset at, std::span<std::byte> out) const {
  const auto range = FileRange::try_sized(at, out.size());
  if (!range || range->end().value > size()) {
    throw Error(ErrorKind::io, name(), std::nullopt, "read: past the last decoded page");
  }
  PageDecoder decoder(*stream_, page_size_);
  std::vector<std::byte> whole;
  while (!out.empty()) {
    const std::uint64_t slot = at.value / page_size_;
    const auto skipped = static_cast<std::size_t>(at.value % page_size_);
    const auto part = out.first(std::min<std::size_t>(out.size(), page_size_ - skipped));
    if (part.size() == page_size_) {
      read_page(decoder, slot, part);
    } else {
      whole.resize(page_size_);
      read_page(decoder, slot, whole);
      std::copy_n(whole.begin() + static_cast<std::ptrdiff_t>(skipped), part.size(), part.begin());
    }
    at = at + part.size();
    out = out.subspan(part.size());
  }
}

void DecodedPages::read_page(PageDecoder& decoder, std::uint64_t slot,
                             std::span<std::byte> page) const {
  const EncodedPages::Place place = places_.at(slot);
  if (place.form == EncodedPages::Form::stored) {
    store_->read_at({place.where * page_size_}, page);
    return;
  }
  const std::string_view damage = decoder.read_compressed({place.where}, page);
  if (damage.empty()) return;
  throw Error(ErrorKind::corrupt, name(), place.where,
              "compressed page " + std::string(damage) + " (--salvage leaves it out)");
}

}  // namespace vmconvert::qemu
