#include "lime/lime_reader.h"

#include <algorithm>
#include <string>

#include "lime/avml_source.h"
#include "vmconvert/base/text.h"
#include "vmconvert/model/lost_memory.h"
#include "vmconvert/model/machine.h"

namespace vmconvert::lime_image {
namespace {

// Truth: LiME, doc/README.md, "LiME Memory Range Header"; avml 0.14, src/image.rs. Integers are
// little-endian. Page: docs/formats/lime.md
//   0 magic, 4 version, 8 s_addr, 16 e_addr INCLUSIVE, 24 reserved, zero; then the memory
constexpr std::uint32_t kLimeMagic = 0x4c694d45, kLimeVersion = 1;
constexpr std::uint32_t kAvmlMagic = 0x4c4d5641, kAvmlVersion = 2;
constexpr std::uint64_t kHeaderSize = 32;
constexpr std::uint32_t kPage = 4096;
constexpr SourceId kFile = 0, kAvml = 1;

Match probe(const ProbeWindow& window) noexcept {
  if (window.head.size() < 4) return Match::no;
  const auto magic = load<std::uint32_t>(window.head, std::endian::little);
  return magic == kLimeMagic || magic == kAvmlMagic ? Match::yes : Match::no;
}

/// Walks the records of a file.
class Reader {
 public:
  Reader(const Input& input, const ReadOptions& options, Diagnostics& diagnostics)
      : source_(input.source()),
        salvage_(options.salvage),
        diagnostics_(diagnostics),
        cursor_(*source_, FileRange::sized({0}, source_->size()), std::endian::little),
        avml_(std::make_shared<AvmlSource>(source_, salvage_)) {}

  void read_into(GuestImage& image) {
    try {
      while (!cursor_.at_end()) read_record();
    } catch (const Error& error) {
      if (!salvage_ || error.kind() != ErrorKind::corrupt) throw;
      diagnostics_.loss("", std::nullopt, std::string(error.what()) + "; what follows is lost");
    }
    image.sources = {source_, avml_};
    std::sort(runs_.begin(), runs_.end(),
              [](const Run& a, const Run& b) { return a.guest.begin() < b.guest.begin(); });
    if (salvage_) drop_damage();
    RunListBuilder builder(kPage);
    GuestPhysAddr end{};
    for (Run& run : runs_) {
      if (run.guest.begin() < end) fail_overlap(run);
      end = run.guest.end();
      builder.add(run);
    }
    image.runs = builder.finish();
    report(image);
  }

 private:
  void read_record() {
    const bool avml = read_magic();
    const auto s_addr = cursor_.read<std::uint64_t>("s_addr");
    const auto e_addr = cursor_.read<std::uint64_t>("e_addr");
    if (e_addr < s_addr || e_addr == ~std::uint64_t{0})
      cursor_.fail("e_addr", hex(e_addr) + " is no end of a range that begins at " + hex(s_addr));
    cursor_.read<std::uint64_t>("reserved");
    const auto guest = GuestRange::between({s_addr}, {e_addr + 1});
    ++records_;
    if (avml) {
      const std::uint64_t at = avml_->add_block(cursor_, guest.size());
      runs_.push_back({guest, InFile{kAvml, kPage, {at}}});
      return;
    }
    if (salvage_ && guest.size() > cursor_.remaining()) {
      // The part that is there, then the error about the rest.
      const FileOffset at = cursor_.position();
      runs_.push_back(
          {GuestRange::sized(guest.begin(), cursor_.remaining()), InFile{kFile, kPage, at}});
    }
    const FileRange bytes = cursor_.take(guest.size(), "memory at " + hex(s_addr));
    runs_.push_back({guest, InFile{kFile, kPage, bytes.begin()}});
  }

  /// True for a record of AVML, false for one of LiME.
  bool read_magic() {
    const auto magic = cursor_.read<std::uint32_t>("magic");
    if (magic != kLimeMagic && magic != kAvmlMagic)
      cursor_.fail("magic", "is neither that of LiME nor that of AVML");
    const bool avml = magic == kAvmlMagic;
    const auto version = cursor_.read<std::uint32_t>("version");
    if (version != (avml ? kAvmlVersion : kLimeVersion)) {
      cursor_.fail("version", std::to_string(version) + " is not known", ErrorKind::unsupported);
    }
    return avml;
  }

  void fail_overlap(const Run& run) const {
    const auto text = "two records hold guest address " + hex(run.guest.begin().value);
    throw Error(ErrorKind::corrupt, source_->name(), std::nullopt, text);
  }

  /// Leaves out memory of AVML chunks that cannot be decompressed, and of all but the first record
  /// that holds an address.
  void drop_damage() {
    LostMemory damaged, repeated;
    std::vector<Run> sound;
    GuestPhysAddr end{};
    for (const Run& run : runs_) {
      const GuestPhysAddr begin = std::max(run.guest.begin(), std::min(end, run.guest.end()));
      if (begin != run.guest.begin()) {
        repeated.add(GuestRange::between(run.guest.begin(), begin),
                     source_->name() + ": two records hold the same guest address");
      }
      if (begin == run.guest.end()) continue;
      InFile file = std::get<InFile>(run.backing);
      file.at = file.at + (begin - run.guest.begin());
      const auto guest = GuestRange::between(begin, run.guest.end());
      end = guest.end();
      if (file.source == kAvml) {
        keep_sound_chunks(guest, file, sound, damaged);
      } else {
        sound.push_back({guest, file});
      }
    }
    damaged.report(diagnostics_);
    repeated.report(diagnostics_);
    runs_ = std::move(sound);
  }

  void keep_sound_chunks(GuestRange guest, InFile file, std::vector<Run>& sound,
                         LostMemory& damaged) const {
    const auto& chunks = avml_->chunks();
    const auto all = FileRange::sized(file.at, guest.size());
    auto chunk = std::partition_point(chunks.begin(), chunks.end(), [&](const AvmlChunk& c) {
      return c.plain_at + c.plain_size <= all.begin().value;
    });
    std::vector<std::byte> plain;
    for (; chunk != chunks.end() && chunk->plain_at < all.end().value; ++chunk) {
      const auto part = FileRange::sized({chunk->plain_at}, chunk->plain_size).intersection(all);
      const auto range =
          GuestRange::sized(guest.begin() + (part.begin() - all.begin()), part.size());
      plain.resize(chunk->plain_size);
      try {
        avml_->read_chunk(*chunk, plain);
        sound.push_back({range, InFile{kAvml, kPage, part.begin()}});
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::corrupt) throw;
        damaged.add(range, error.what());
      }
    }
  }

  void report(GuestImage& image) const {
    const bool any_avml = !avml_->chunks().empty();
    image.metadata.facts.push_back({"dump.format", any_avml ? "AVML" : "LiME"});
    image.metadata.facts.push_back({"dump.compression", any_avml ? "snappy" : "none"});
    diagnostics_.decision(source_->name(), counted(records_, "record") + " with " +
                                               human_size(image.runs.total_bytes()) +
                                               " of guest memory");
  }

  std::shared_ptr<const ByteSource> source_;
  bool salvage_;
  Diagnostics& diagnostics_;
  Cursor cursor_;
  std::shared_ptr<AvmlSource> avml_;
  std::vector<Run> runs_;
  std::uint64_t records_ = 0;
};

GuestImage read(const Input& input, const ReadOptions& options, Diagnostics& diagnostics) {
  GuestImage image;
  Reader(input, options, diagnostics).read_into(image);
  assume_machine(input.source()->name(), options.machine, image, diagnostics);
  return image;
}

}  // namespace

constinit const Format kLime{
    .name = "lime",
    .summary = "LiME images, and AVML's with compression",
    .probe = probe,
    .read = read,
};

}  // namespace vmconvert::lime_image
