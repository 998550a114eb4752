#include "vmconvert/io/cursor.h"

#include <algorithm>
#include <cstring>

namespace vmconvert {
namespace {

// A page header every 4 KiB costs one small read each; reading the pages as well would cost a copy
// of the whole guest. Fields that follow each other closely are read up to 128 KiB at a time.
constexpr std::size_t kSmallestBuffer = 64;
constexpr std::size_t kLargestBuffer = 128 * 1024;

}  // namespace

Cursor::Cursor(const ByteSource& source, FileRange window, std::endian order)
    : source_(&source),
      window_(window),
      order_(order),
      position_(window.begin()),
      last_(window.begin()),
      buffered_(FileRange::sized(window.begin(), 0)),
      next_fill_(kSmallestBuffer) {
  if (window.end().value > source.size()) {
    throw Error(ErrorKind::corrupt, source.name(), window.begin().value,
                "data reaches past the end of the input");
  }
}

void Cursor::require(std::uint64_t size, std::string_view field) {
  last_ = position_;
  if (size > remaining()) {
    fail(field, "is cut off: " + std::to_string(size) + " bytes wanted, " +
                    std::to_string(remaining()) + " left");
  }
}

std::span<const std::byte> Cursor::view(std::size_t size) {
  if (!buffered_.contains(FileRange::sized(position_, size))) {
    // Grow while everything fetched was used, shrink when most of it was stepped over.
    const bool continued = position_ >= buffered_.begin() && position_ <= buffered_.end();
    next_fill_ = continued ? std::min(next_fill_ * 2, kLargestBuffer)
                           : std::max(next_fill_ / 2, kSmallestBuffer);
    const auto fill =
        static_cast<std::size_t>(std::min<std::uint64_t>(std::max(next_fill_, size), remaining()));
    buffered_ = FileRange::sized(position_, 0);  // nothing is buffered if the read throws
    buffer_.resize(fill);
    source_->read_at(position_, buffer_);
    buffered_ = FileRange::sized(position_, fill);
  }
  return std::span(buffer_).subspan(static_cast<std::size_t>(position_ - buffered_.begin()), size);
}

std::span<const std::byte> Cursor::fetch(std::size_t size, std::string_view field) {
  require(size, field);
  const auto bytes = view(size);
  position_ = position_ + size;
  return bytes;
}

std::string Cursor::read_text(std::uint64_t size, std::string_view field) {
  require(size, field);
  std::string text(static_cast<std::size_t>(size), '\0');
  source_->read_at(position_, std::as_writable_bytes(std::span(text)));
  position_ = position_ + size;
  return text;
}

FileRange Cursor::take(std::uint64_t size, std::string_view field) {
  require(size, field);
  const auto range = FileRange::sized(position_, size);
  position_ = range.end();
  return range;
}

bool Cursor::peek_bytes(std::span<std::byte> out) {
  if (remaining() < out.size()) return false;
  if (out.size() <= kLargestBuffer) {
    const auto bytes = view(out.size());
    std::copy(bytes.begin(), bytes.end(), out.begin());
  } else {
    source_->read_at(position_, out);
  }
  return true;
}

void Cursor::seek(FileOffset to, std::string_view field) {
  if (to < window_.begin() || to > window_.end())
    fail(field, "lies outside the data it is part of");
  position_ = to;
  last_ = to;
}

void Cursor::fail(std::string_view field, std::string_view why, ErrorKind kind) const {
  throw Error(kind, source_->name(), last_.value, std::string(field) + ' ' + std::string(why));
}

}  // namespace vmconvert
