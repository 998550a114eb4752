#include "qemu/page_decoding.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "vmconvert/base/text.h"
#include "vmconvert/io/temporary_file.h"

namespace vmconvert::qemu {
namespace {

using Form = EncodedPages::Form;

/// Damaged records: an error, or under salvage a loss each, the first of them listed.
class Damage {
 public:
  Damage(const std::string& file, bool salvage, Diagnostics& diagnostics)
      : file_(file), salvage_(salvage), diagnostics_(diagnostics) {}

  /// @throws Error(corrupt) unless salvage is wanted
  void add(FileOffset record, const std::string& text) {
    if (!salvage_) {
      throw Error(ErrorKind::corrupt, file_, record.value, text + " (--salvage leaves it out)");
    }
    if (++count_ <= kMostListed)
      diagnostics_.loss(file_, record.value, text + "; the page is left out");
  }
  void report_rest() {
    if (count_ > kMostListed) {
      diagnostics_.loss(file_, std::nullopt,
                        counted(count_ - kMostListed, "more damaged page") + " left out");
    }
  }
  bool any() const { return count_ != 0; }

 private:
  static constexpr std::uint64_t kMostListed = 20;
  const std::string& file_;
  bool salvage_;
  Diagnostics& diagnostics_;
  std::uint64_t count_ = 0;
};

/// Goes through the stream once more, for the pages whose last record is a delta.
class DeltaReplay {
 public:
  DeltaReplay(const ByteSource& source, const QevmStream& stream, Damage& damage)
      : source_(source),
        stream_(stream),
        damage_(damage),
        page_size_(stream.ram_format.page_size),
        pages_(stream.blocks.size()),
        decoder_(source, page_size_),
        buffer_(page_size_) {}

  /// In the order of the blocks and their pages: they are numbered like this in the store.
  void follow(std::size_t block, std::uint64_t offset) {
    pages_[block].push_back({.offset = offset, .number = count_++});
  }
  bool empty() const { return count_ == 0; }

  void run() {
    RamRecords reader(stream_.ram_format);
    for (const RamBlock& block : stream_.blocks) reader.add_block(block.name, block.used_length);
    Cursor cursor(source_, FileRange::sized({0}, source_.size()), std::endian::big);
    for (const FileRange range : stream_.encoded.records) {
      cursor.seek(range.begin(), "RAM records");
      while (cursor.position() < range.end()) {
        if (reader.next(cursor) == RamRecords::Kind::page) apply(reader.page());
      }
    }
  }

  /// Numbers of pages whose last delta cannot be applied.
  std::vector<bool> lost() const {
    std::vector<bool> lost(count_);
    for (const auto& block : pages_) {
      for (const Page& page : block) lost[page.number] = page.state != State::stored;
    }
    return lost;
  }
  std::shared_ptr<const ByteSource> take_store() {
    return std::move(store_).to_source(source_.name());
  }

 private:
  /// What the records so far made of a page.
  enum class State : std::uint8_t { nothing, plain, filled, compressed, stored, lost };
  struct Page {
    std::uint64_t offset = 0;  ///< in its block
    std::uint64_t number = 0;  ///< in the store
    std::uint64_t where = 0;   ///< offset in the stream, or the byte it is filled with
    State state = State::nothing;
  };

  Page* find(const PageRecord& record) {
    auto& pages = pages_[record.block];
    const auto found = std::lower_bound(
        pages.begin(), pages.end(), record.offset,
        [](const Page& page, std::uint64_t offset) { return page.offset < offset; });
    return found != pages.end() && found->offset == record.offset ? &*found : nullptr;
  }

  void apply(const PageRecord& record) {
    Page* page = find(record);
    if (page == nullptr) return;
    switch (record.form) {
      case PageRecord::Form::plain:
        page->state = State::plain;
        page->where = record.at.value;
        break;
      case PageRecord::Form::filled:
        page->state = State::filled;
        page->where = std::to_integer<std::uint64_t>(record.fill);
        break;
      case PageRecord::Form::compressed:
        page->state = State::compressed;
        page->where = record.at.value;
        break;
      case PageRecord::Form::delta:
        if (page->state != State::lost) apply_delta(*page, record.at);
        break;
    }
  }

  void apply_delta(Page& page, FileOffset record) {
    if (page.state == State::nothing) {
      lose(page, record, "delta of a page that was not sent before");
      return;
    }
    if (const std::string_view why = load(page); !why.empty()) {
      lose(page, FileOffset{page.where}, "compressed page " + std::string(why));
      return;
    }
    if (const std::string_view why = decoder_.apply_delta(record, buffer_); !why.empty()) {
      lose(page, record, "delta " + std::string(why));
      return;
    }
    store_.write_at({page.number * page_size_}, buffer_);
    page.state = State::stored;
  }

  /// Fills the buffer with the page as it is now. @returns what is damaged
  std::string_view load(const Page& page) {
    switch (page.state) {
      case State::plain:
        source_.read_at({page.where}, buffer_);
        break;
      case State::filled:
        std::fill(buffer_.begin(), buffer_.end(), static_cast<std::byte>(page.where));
        break;
      case State::compressed:
        return decoder_.read_compressed({page.where}, buffer_);
      default:
        store_.read_at({page.number * page_size_}, buffer_);
        break;
    }
    return "";
  }

  void lose(Page& page, FileOffset record, const std::string& text) {
    damage_.add(record, text);
    page.state = State::lost;
  }

  const ByteSource& source_;
  const QevmStream& stream_;
  Damage& damage_;
  std::uint32_t page_size_;
  std::vector<std::vector<Page>> pages_;  ///< per block, in the order of their offsets
  std::uint64_t count_ = 0;
  PageDecoder decoder_;
  std::vector<std::byte> buffer_;
  TemporaryFile store_;
};

/// Says of every page without a record that it is zero, as it is in a complete stream.
void fill_gaps(std::vector<RamBlock>& blocks) {
  for (RamBlock& block : blocks) {
    const RunList runs = block.pages.finish();
    GuestPhysAddr at{0};
    const auto fill_to = [&](GuestPhysAddr end) {
      block.pages.add({GuestRange::between(at, end), Filled{std::byte{0}}});
    };
    for (const Run& run : runs) {
      fill_to(run.guest.begin());
      block.pages.add(run);
      at = run.guest.end();
    }
    fill_to({block.used_length});
  }
}

/// Takes away the pages whose slots are lost.
void drop_lost(QevmStream& stream, const std::vector<bool>& lost) {
  if (stream.ram_complete) fill_gaps(stream.blocks);
  renumber_slots(stream.blocks, stream.encoded.slots, stream.ram_format.page_size,
                 [&](const EncodedPage& page) { return !lost[page.slot]; });
  stream.ram_complete = false;  // a page without a run is lost, not zero
}

/// Marks compressed pages that do not inflate to a page.
void check_compressed(const ByteSource& source, const QevmStream& stream, Damage& damage,
                      std::vector<bool>& lost) {
  PageDecoder decoder(source, stream.ram_format.page_size);
  std::vector<std::byte> page(stream.ram_format.page_size);
  const EncodedPages& slots = stream.encoded.slots;
  for (std::uint64_t slot = 0; slot < slots.size(); ++slot) {
    const EncodedPages::Place place = slots.at(slot);
    if (place.form != Form::compressed) continue;
    const std::string_view why = decoder.read_compressed({place.where}, page);
    if (why.empty()) continue;
    damage.add({place.where}, "compressed page " + std::string(why));
    lost[slot] = true;
  }
}

}  // namespace

std::shared_ptr<const ByteSource> decode_pages(const std::shared_ptr<const ByteSource>& source,
                                               QevmStream& stream, bool salvage,
                                               Diagnostics& diagnostics) {
  EncodedRam& encoded = stream.encoded;
  if (encoded.slots.size() == 0) return nullptr;
  const std::uint32_t page_size = stream.ram_format.page_size;
  diagnostics.decision(source->name(), counted(encoded.compressed, "compressed page record") +
                                           " and " + counted(encoded.deltas, "XBZRLE delta"));
  Damage damage(source->name(), salvage, diagnostics);
  std::optional<DeltaReplay> replay;
  if (encoded.deltas != 0) replay.emplace(*source, stream, damage);
  renumber_slots(stream.blocks, encoded.slots, page_size, [&](const EncodedPage& page) {
    if (encoded.slots.at(page.slot).form == Form::delta) replay->follow(page.block, page.offset);
    return true;
  });

  std::shared_ptr<const ByteSource> store;
  std::vector<bool> lost(encoded.slots.size());
  if (replay && !replay->empty()) {
    replay->run();
    const std::vector<bool> lost_numbers = replay->lost();
    std::uint64_t number = 0;
    for (std::uint64_t slot = 0; slot < encoded.slots.size(); ++slot) {
      if (encoded.slots.at(slot).form != Form::delta) continue;
      lost[slot] = lost_numbers[number];
      encoded.slots.set(slot, {Form::stored, number++});
    }
    store = replay->take_store();
  }
  if (salvage) check_compressed(*source, stream, damage, lost);
  if (damage.any()) drop_lost(stream, lost);
  damage.report_rest();
  return std::make_shared<DecodedPages>(source, std::move(store), std::move(encoded.slots),
                                        page_size);
}

}  // namespace vmconvert::qemu
