#include "kdump/flattened.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "vmconvert/base/text.h"
#include "vmconvert/io/cursor.h"

namespace vmconvert::kdump {
namespace {

// Truth: makedumpfile 1.7.2, makedumpfile.h, struct makedumpfile_header and
// makedumpfile_data_header; integers are big-endian whatever the guest is.
//   0 signature[16], 16 type 1, 24 version 1, zeros up to 4096; then records of
//   offset, size, size bytes; the last has offset and size -1
constexpr std::string_view kSignature("makedumpfile\0\0\0\0", 16);
constexpr std::uint64_t kRecordsAt = 4096, kType = 1, kVersion = 1;
constexpr std::uint64_t kEnd = ~std::uint64_t{0};
constexpr std::uint64_t kLargestFile = std::uint64_t{1} << 62;

// A RunList keeps the last of what overlaps, here of places in the rearranged file instead of guest
// addresses. Records have any size, so its pages are bytes; all of its runs are plain then.
constexpr std::uint32_t kPage = 1;

void check_head(Cursor& cursor) {
  const std::string signature = cursor.read_text(kSignature.size(), "signature");
  if (signature != kSignature) cursor.fail("signature", "is not \"makedumpfile\"");
  const auto type = cursor.read<std::uint64_t>("type");
  if (type != kType) {
    cursor.fail("type", "of flattened dump " + std::to_string(type) + " is not known",
                ErrorKind::unsupported);
  }
  const auto version = cursor.read<std::uint64_t>("version");
  if (version != kVersion) {
    cursor.fail("version", "of flattened dump " + std::to_string(version) + " is not known",
                ErrorKind::unsupported);
  }
  cursor.seek({kRecordsAt}, "first record");
}

/// Adds one record; false if it was the end mark.
bool read_record(Cursor& cursor, RunListBuilder& places) {
  const auto offset = cursor.read<std::uint64_t>("record offset");
  const auto size = cursor.read<std::uint64_t>("record size");
  if (offset == kEnd && size == kEnd) return false;
  if (offset > kLargestFile || size > kLargestFile - offset) {
    cursor.fail("record size",
                "is " + hex(size) + " at offset " + hex(offset) + ", which no file can hold");
  }
  const FileRange bytes = cursor.take(size, "record");
  places.add({GuestRange::sized({offset}, size), InFile{0, kPage, bytes.begin()}});
  return true;
}

}  // namespace

bool is_flattened(std::span<const std::byte> head) {
  return std::string_view(reinterpret_cast<const char*>(head.data()), head.size())
      .starts_with(kSignature);
}

FlattenedSource::FlattenedSource(std::shared_ptr<const ByteSource> source, bool salvage,
                                 Diagnostics& diagnostics)
    : source_(std::move(source)), name_(source_->name() + " (rearranged)") {
  Cursor cursor(*source_, FileRange::sized({0}, source_->size()), std::endian::big);
  check_head(cursor);
  RunListBuilder places(kPage);
  try {
    while (read_record(cursor, places)) {
    }
  } catch (const Error& error) {
    if (!salvage || error.kind() != ErrorKind::corrupt) throw;
    diagnostics.loss("", std::nullopt, std::string(error.what()) + "; what follows is lost");
  }
  places_ = std::make_shared<RunList>(places.finish());
  if (!places_->empty()) size_ = places_->runs().back().guest.end().value;
  strict_from_ = {size_};
}

FlattenedSource::FlattenedSource(const FlattenedSource& other, FileOffset from)
    : source_(other.source_),
      name_(other.name_),
      places_(other.places_),
      size_(other.size_),
      strict_from_(from) {}

void FlattenedSource::read_at(FileOffset at, std::span<std::byte> out) const {
  const auto range = GuestRange::try_sized({at.value}, out.size());
  if (!range || range->end().value > size_) {
    throw Error(ErrorKind::io, name_, at.value, "read: the file ends here (did it shrink?)");
  }
  std::uint64_t done = 0;
  const auto next = [&](std::uint64_t size) {
    const auto part = out.subspan(static_cast<std::size_t>(done), static_cast<std::size_t>(size));
    done += size;
    return part;
  };
  places_->for_each_in(*range, [&](const Run& run) {
    const FileOffset hole = at + done;
    fill_hole(hole, next(run.guest.begin() - range->begin() - done));
    source_->read_at(std::get<InFile>(run.backing).at, next(run.guest.size()));
  });
  const FileOffset hole = at + done;
  fill_hole(hole, next(out.size() - done));
}

void FlattenedSource::fill_hole(FileOffset at, std::span<std::byte> out) const {
  if (out.empty()) return;
  if (at + out.size() > strict_from_) {
    throw Error(ErrorKind::corrupt, name_, std::max(at, strict_from_).value,
                "no record of the flattened dump holds this");
  }
  std::fill(out.begin(), out.end(), std::byte{0});
}

}  // namespace vmconvert::kdump
