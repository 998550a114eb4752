#include "xen/libxl_stream.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>

#include "vmconvert/base/text.h"
#include "vmconvert/io/cursor.h"
#include "xen/libxc_stream.h"

namespace vmconvert::xen {
namespace {

// Truth: Xen 4.17, docs/specs/libxl-migration-stream.pandoc.
//   header, big-endian: u64 "LibxlFmt", u32 version, u32 options
//   records of both layers: u32 type, u32 length of the body, body, zeros up to a multiple of 8
constexpr std::uint64_t kIdent = 0x4c6962786c466d74;
constexpr std::uint32_t kVersion = 2, kBigEndian = 1, kFromLegacy = 2;
constexpr std::uint32_t kEnd = 0, kLibxcContext = 1, kXenstoreData = 2, kEmulatorContext = 3,
                        kCheckpointEnd = 4, kCheckpointState = 5;
constexpr std::uint32_t kOptional = 1U << 31;
constexpr std::uint64_t kAlignment = 8;
constexpr std::uint64_t kEmulatorHeader = 8;
constexpr std::uint64_t kMostDamaged = 20;  // records that are told one by one

struct Record {
  bool libxc = false;  ///< else of libxl
  std::uint32_t type = 0;
  FileRange body;
  bool complete = true;  ///< false: the file ends within the body
};

/// Walks the records of both layers, which take turns: libxl's record of type 1 is followed by a
/// whole libxc stream, and at each checkpoint libxl has records up to its CHECKPOINT_END.
class Walk {
 public:
  Walk(const ByteSource& source, FileOffset begin)
      : cursor_(source, FileRange::between(begin, {source.size()}), std::endian::little) {}

  /// Reads the header that the stream begins with. @returns false if there is no libxl layer
  bool begin(SavedGuest& guest) {
    std::array<std::byte, 16> head{};
    if (cursor_.peek_bytes(head) && load<std::uint64_t>(head, std::endian::big) == kIdent) {
      read_libxl_header(guest);
      wrapped_ = true;
    } else {
      read_libxc_headers(cursor_, guest);
      in_libxc_ = has_libxc_ = true;
    }
    return wrapped_;
  }

  /// The next record; nothing after the last. @throws Error
  std::optional<Record> next(SavedGuest& guest, bool partial) {
    if (done_) return std::nullopt;
    Record record{.libxc = in_libxc_};
    record.type = cursor_.read<std::uint32_t>("record type");
    check_type(record.type);
    const auto length = cursor_.read<std::uint32_t>("record length");
    if (record.libxc && length > libxc::kLargestBody) {
      cursor_.fail("record length", "is " + std::to_string(length) + ", more than there can be",
                   ErrorKind::corrupt);
    }
    record.complete = length <= cursor_.remaining();
    if (!record.complete && partial) {
      record.body = cursor_.take(cursor_.remaining(), "record");
      done_ = true;
      return record;
    }
    record.body = cursor_.take(length, "record of type " + hex(record.type));
    const std::uint64_t padding = align_up(length, kAlignment) - length;
    // What a file lacks of the last padding is nothing.
    cursor_.take(std::min(padding, cursor_.remaining()), "padding");
    follow(record, guest);
    return record;
  }

  bool done() const { return done_; }
  FileOffset position() const { return cursor_.position(); }

 private:
  void read_libxl_header(SavedGuest& guest) {
    const FileOffset begin = cursor_.position();
    cursor_.take(8, "ident");
    std::array<std::byte, 8> rest{};
    if (!cursor_.peek_bytes(rest)) cursor_.fail("libxl header", "is cut off");
    cursor_.take(rest.size(), "libxl header");
    const auto version = load<std::uint32_t>(rest, std::endian::big);
    const auto options = load<std::uint32_t>(std::span(rest).subspan(4), std::endian::big);
    const auto fail = [&](std::uint64_t at, const std::string& why) {
      throw Error(ErrorKind::unsupported, cursor_.source().name(), begin.value + at, why);
    };
    if (version != kVersion)
      fail(8, "version " + std::to_string(version) + " of the libxl stream is not supported");
    if ((options & kBigEndian) != 0) fail(12, "big-endian libxl streams are not supported");
    if ((options & kFromLegacy) != 0) guest.facts.push_back({"xen.converted-stream", "yes"});
  }

  void check_type(std::uint32_t type) const {
    if ((type & kOptional) != 0) return;
    const std::uint32_t newest = in_libxc_ ? libxc::kNewest : kCheckpointState;
    if (type <= newest) return;
    cursor_.fail("record type",
                 hex(type) + (in_libxc_ ? " of libxc" : " of libxl") + " is not known",
                 ErrorKind::unsupported);
  }

  /// What a record says about those behind it.
  void follow(const Record& record, SavedGuest& guest) {
    if (record.libxc) {
      if (record.type == libxc::kEnd) {
        in_libxc_ = false;
        done_ = !wrapped_;
      } else if (record.type == libxc::kCheckpoint && wrapped_) {
        in_libxc_ = false;
        in_checkpoint_ = true;
      }
      return;
    }
    if (record.type == kEnd) {
      if (!has_libxc_) cursor_.fail("stream", "holds no libxc stream, so no memory");
      done_ = true;
    } else if (record.type == kLibxcContext) {
      if (has_libxc_) cursor_.fail("stream", "holds two libxc streams");
      read_libxc_headers(cursor_, guest);
      in_libxc_ = has_libxc_ = true;
    } else if (record.type == kCheckpointEnd && in_checkpoint_) {
      in_libxc_ = true;
      in_checkpoint_ = false;
    }
  }

  Cursor cursor_;
  bool wrapped_ = false, in_libxc_ = false, has_libxc_ = false, in_checkpoint_ = false;
  bool done_ = false;
};

/// How much of a stream is to be used.
struct Extent {
  std::uint64_t records = 0;  ///< from the first one on
  bool ended = false;         ///< there is an end, or a complete checkpoint
  std::uint64_t checkpoints = 0;
  std::string error;  ///< what is wrong behind the last of them
};

/// Looks at the frames of all records before any is used: only the end tells which checkpoint
/// counts.
Extent measure(const ByteSource& source, FileOffset begin, bool salvage) {
  Extent extent;
  SavedGuest ignored;
  Walk walk(source, begin);
  const bool wrapped = walk.begin(ignored);
  std::uint64_t seen = 0;
  try {
    while (const auto record = walk.next(ignored, false)) {
      ++seen;
      const bool checkpoint = wrapped ? !record->libxc && record->type == kCheckpointEnd
                                      : record->libxc && record->type == libxc::kCheckpoint;
      if (!checkpoint) continue;
      ++extent.checkpoints;
      extent.records = seen;
    }
    extent.ended = true;
    extent.records = seen;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt) throw;
    extent.error = error.what();
    extent.ended = extent.checkpoints != 0;
    if (extent.ended) return extent;
    if (!salvage) throw;
    extent.records = seen;
  }
  return extent;
}

/// Uses a stream's records.
class Use {
 public:
  Use(const ByteSource& source, bool salvage, Diagnostics& diagnostics)
      : source_(source), salvage_(salvage), diagnostics_(diagnostics) {}

  SavedGuest run(FileOffset begin, const Extent& extent) {
    Walk walk(source_, begin);
    walk.begin(guest_);
    for (std::uint64_t i = 0; i < extent.records; ++i) {
      const auto record = walk.next(guest_, false);
      if (record) apply(*record);
    }
    if (!extent.ended) last_words(walk, extent);
    if (damaged_ > kMostDamaged) {
      diagnostics_.loss(source_.name(), std::nullopt,
                        counted(damaged_ - kMostDamaged, "more damaged record") + " left out");
    }
    return std::move(guest_);
  }

 private:
  void apply(const Record& record) {
    if (!record.libxc) {
      if (record.type == kEmulatorContext && record.body.size() > kEmulatorHeader)
        attach(record.body);
      return;
    }
    if (record.type == libxc::kVerify) verifying_ = true;
    // Pages behind it come again so that somebody may compare them.
    if (verifying_ && record.type == libxc::kPageData) return;
    try {
      apply_libxc_record(source_, record.type, record.body, record.complete, guest_);
    } catch (const Error& error) {
      if (!salvage_ || error.kind() != ErrorKind::corrupt) throw;
      if (++damaged_ <= kMostDamaged) {
        diagnostics_.loss("", std::nullopt, std::string(error.what()) + "; the record is left out");
      }
    }
  }

  /// Of a stream without an end: the pages of the record that it broke off in.
  void last_words(Walk& walk, const Extent& extent) {
    try {
      const auto record = walk.next(guest_, true);
      if (record && record->libxc && record->type == libxc::kPageData && !verifying_)
        apply_libxc_record(source_, record->type, record->body, false, guest_);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::corrupt) throw;
    }
    std::string text = extent.error + "; what follows is lost";
    if (guest_.pages.replaced() != 0) text += ", and pages may be of different moments";
    diagnostics_.loss("", std::nullopt, text);
  }

  /// The emulator's state of an HVM guest, a migration stream of QEMU without memory. The last
  /// counts.
  void attach(FileRange body) {
    const FileRange content = FileRange::between(body.begin() + kEmulatorHeader, body.end());
    const Attachment attachment{Attachment::Kind::other, "emulator.qevm",
                                "application/octet-stream", SourceBytes{0, content}};
    guest_.attachments.assign(1, attachment);
  }

  const ByteSource& source_;
  bool salvage_;
  Diagnostics& diagnostics_;
  SavedGuest guest_;
  bool verifying_ = false;
  std::uint64_t damaged_ = 0;
};

}  // namespace

SavedGuest read_stream(const ByteSource& source, FileOffset begin, bool salvage,
                       Diagnostics& diagnostics) {
  const Extent extent = measure(source, begin, salvage);
  SavedGuest guest = Use(source, salvage, diagnostics).run(begin, extent);
  if (extent.checkpoints != 0) {
    guest.facts.push_back({"xen.checkpoints", std::to_string(extent.checkpoints)});
    if (!extent.error.empty()) {
      diagnostics.warn(source.name(), "the stream breaks off after checkpoint " +
                                          std::to_string(extent.checkpoints) +
                                          ", which is what is converted");
    }
  }
  return guest;
}

bool is_libxl_stream(std::span<const std::byte> head) {
  return head.size() >= 16 && load<std::uint64_t>(head, std::endian::big) == kIdent &&
         load<std::uint32_t>(head.subspan(8), std::endian::big) < 16 &&
         load<std::uint32_t>(head.subspan(12), std::endian::big) < 16;
}

bool is_libxc_stream(std::span<const std::byte> head) {
  constexpr std::uint32_t kXenf = 0x58454e46;
  return head.size() >= 24 && load<std::uint64_t>(head, std::endian::big) == ~std::uint64_t{0} &&
         load<std::uint32_t>(head.subspan(8), std::endian::big) == kXenf &&
         load<std::uint32_t>(head.subspan(12), std::endian::big) < 16;
}

}  // namespace vmconvert::xen
