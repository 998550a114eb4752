#include "qemu/mapped_ram.h"

#include <algorithm>
#include <array>
#include <bit>
#include <optional>

#include "vmconvert/base/packed.h"
#include "vmconvert/base/text.h"

namespace vmconvert::qemu {
namespace {

// Truth: QEMU 10.0, migration/ram.c, struct MappedRamHeader. Packed, big-endian:
//   0 version u32, 4 page_size u64, 12 bitmap_offset u64, 20 pages_offset u64
// The bitmap follows at once, the pages at the next MiB; both offsets count from the beginning of
// the file, whatever precedes the stream. Bitmap words are unsigned longs of the host.
constexpr std::uint32_t kMappedVersion = 1;
constexpr std::uint64_t kWordBits = 64;
constexpr std::uint64_t kWordBytes = 8;
// Bitmap bytes read at a time: of 8 GiB.
constexpr std::size_t kBitmapChunk = 256 * 1024;
// Pages looked at to tell the byte order; one can tell, if no page changed while it was written.
constexpr unsigned kMostSamples = 64;

/// The bits of a block's last word that stand for no page.
std::uint64_t surplus_bits(std::uint64_t pages) {
  const std::uint64_t used = pages % kWordBits;
  return used == 0 ? 0 : ~std::uint64_t{0} << used;
}

using WordBytes = std::span<const std::byte>;

/// Calls visit(number of the word, its bytes) for each word that is not zero, as long as it is
/// true.
template <class Visit>
void for_each_word(const ByteSource& source, FileRange bitmap, const Visit& visit) {
  std::vector<std::byte> chunk;
  for (std::uint64_t done = 0; done < bitmap.size(); done += chunk.size()) {
    chunk.resize(
        static_cast<std::size_t>(std::min<std::uint64_t>(kBitmapChunk, bitmap.size() - done)));
    source.read_at(bitmap.begin() + done, chunk);
    for (std::size_t at = 0; at < chunk.size(); at += kWordBytes) {
      const WordBytes word = WordBytes(chunk).subspan(at, kWordBytes);
      if (load<std::uint64_t>(word, std::endian::little) == 0) continue;
      if (!visit((done + at) / kWordBytes, word)) return;
    }
  }
}

std::uint64_t word_value(WordBytes word, std::endian order) {
  return load<std::uint64_t>(word, order);
}

/// The byte order that the last words of the blocks allow; nothing if they allow both.
std::optional<std::endian> order_of_last_words(const ByteSource& source,
                                               std::span<const MappedBlock> blocks,
                                               std::uint32_t page_size) {
  bool little = true, big = true;
  for (const MappedBlock& block : blocks) {
    const std::uint64_t surplus = surplus_bits(block.pages.size() / page_size);
    if (surplus == 0) continue;
    std::array<std::byte, kWordBytes> word{};
    source.read_at({block.bitmap.end().value - kWordBytes}, word);
    little = little && (word_value(word, std::endian::little) & surplus) == 0;
    big = big && (word_value(word, std::endian::big) & surplus) == 0;
  }
  if (little && big) return std::nullopt;
  return big ? std::endian::big : std::endian::little;
}

/// Counts pages that one byte order takes for written, and the other does not, and that are zero.
class OrderSamples {
 public:
  OrderSamples(const ByteSource& source, std::uint32_t page_size)
      : source_(source), page_(page_size) {}

  /// False if no more is needed.
  bool look(const MappedBlock& block, std::uint64_t word_number, WordBytes word) {
    const std::uint64_t little = word_value(word, std::endian::little);
    const std::uint64_t big = word_value(word, std::endian::big);
    sample(block, word_number, little & ~big, against_little_);
    sample(block, word_number, big & ~little, against_big_);
    return samples_ < kMostSamples;
  }
  std::endian order() const {
    return against_little_ > against_big_ ? std::endian::big : std::endian::little;
  }

 private:
  void sample(const MappedBlock& block, std::uint64_t word_number, std::uint64_t bits,
              unsigned& zeros) {
    if (bits == 0) return;
    const auto bit = static_cast<std::uint64_t>(std::countr_zero(bits));
    const std::uint64_t offset = (word_number * kWordBits + bit) * page_.size();
    const std::uint64_t available = source_.size() - block.pages.begin().value;
    if (offset + page_.size() > std::min(block.pages.size(), available)) return;
    source_.read_at(block.pages.begin() + offset, page_);
    ++samples_;
    if (std::all_of(page_.begin(), page_.end(), [](std::byte b) { return b == std::byte{0}; }))
      ++zeros;
  }

  const ByteSource& source_;
  std::vector<std::byte> page_;
  unsigned samples_ = 0, against_little_ = 0, against_big_ = 0;
};

}  // namespace

MappedBlock read_mapped_header(Cursor& cursor, std::uint32_t page_size, std::uint64_t length) {
  const auto version = cursor.read<std::uint32_t>("mapped-ram version");
  if (version != kMappedVersion) {
    cursor.fail("mapped-ram version", std::to_string(version) + " is not supported; only 1 is",
                ErrorKind::unsupported);
  }
  if (const auto size = cursor.read<std::uint64_t>("mapped-ram page size"); size != page_size) {
    cursor.fail("mapped-ram page size",
                hex(size) + " is not that of the stream, " + hex(page_size));
  }
  const auto bitmap_at = cursor.read<std::uint64_t>("mapped-ram bitmap offset");
  // Behind pages_offset. Anything else would mean that all offsets are wrong.
  if (const std::uint64_t here = cursor.position().value + sizeof(std::uint64_t);
      bitmap_at != here) {
    cursor.fail("mapped-ram bitmap offset",
                hex(bitmap_at) + " is not where the bitmap lies, " + hex(here) +
                    ": the file does not begin where it began when QEMU wrote it");
  }
  const FileOffset pages_at{cursor.read<std::uint64_t>("mapped-ram pages offset")};
  const auto pages = FileRange::try_sized(pages_at, length);
  const std::uint64_t words = (length / page_size + kWordBits - 1) / kWordBits;
  if (!pages || pages_at.value < bitmap_at + words * kWordBytes) {
    cursor.fail("mapped-ram pages offset", hex(pages_at.value) + " is impossible");
  }
  return {cursor.take(words * kWordBytes, "mapped-ram bitmap"), *pages};
}

std::endian bitmap_order(const ByteSource& source, std::span<const MappedBlock> blocks,
                         std::uint32_t page_size) {
  if (const auto order = order_of_last_words(source, blocks, page_size)) return *order;
  OrderSamples samples(source, page_size);
  for (const MappedBlock& block : blocks) {
    if (block.pages.begin().value > source.size()) continue;
    for_each_word(source, block.bitmap, [&](std::uint64_t number, WordBytes word) {
      return samples.look(block, number, word);
    });
  }
  return samples.order();
}

std::uint64_t add_mapped_pages(const ByteSource& source, const MappedBlock& block,
                               std::endian order, std::uint32_t page_size, RunListBuilder& pages) {
  const std::uint64_t count = block.pages.size() / page_size;
  const std::uint64_t room =
      source.size() - std::min(source.size(), block.pages.begin().value);  // less if it is cut
  const std::uint64_t available = std::min(count, room / page_size);
  std::uint64_t set = 0;
  for_each_word(source, block.bitmap, [&](std::uint64_t number, WordBytes bytes) {
    std::uint64_t word = word_value(bytes, order);
    const std::uint64_t first = number * kWordBits;
    if (count - first < kWordBits && (word & surplus_bits(count)) != 0) {
      throw Error(ErrorKind::corrupt, source.name(),
                  block.bitmap.begin().value + number * kWordBytes,
                  "mapped-ram bitmap has bits beyond the end of its block");
    }
    for (unsigned at = 0; word != 0;) {
      const auto skip = static_cast<unsigned>(std::countr_zero(word));
      const auto ones = static_cast<unsigned>(std::countr_one(word >> skip));
      at += skip;
      const std::uint64_t begin = std::min(first + at, available);
      const std::uint64_t end = std::min(first + at + ones, available);
      pages.add(
          {GuestRange::between({begin * page_size}, {end * page_size}),
           InFile{
               .source = 0, .stride = page_size, .at = block.pages.begin() + begin * page_size}});
      set += end - begin;
      at += ones;
      // Two shifts: one by 64 is undefined.
      word = ones == kWordBits ? 0 : word >> skip >> ones;
    }
    return true;
  });
  return set;
}

}  // namespace vmconvert::qemu
