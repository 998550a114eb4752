#include "vmware/checkpoint_expansion.h"

#include <zlib.h>

#include <array>

#include "vmconvert/base/packed.h"
#include "vmconvert/io/decoder.h"
#include "vmconvert/io/page_codec.h"
#include "vmconvert/io/temporary_file.h"
#include "vmware/compressed_memory.h"

namespace vmconvert::vmware {
namespace {

// What a byte of a zlib stream becomes at the most; zlib, "maximum compression factor".
constexpr std::uint64_t kLargestRatio = 1032, kSlack = 1024;
constexpr std::size_t kBuffer = 256 * 1024;

/// RFC 1950: deflate, a window that exists, and a check of both bytes.
bool is_zlib(std::span<const std::byte> head) {
  if (head.size() < 2 || (std::to_integer<unsigned>(head[0]) & 0x8fU) != 0x08) return false;
  return load<std::uint16_t>(head, std::endian::big) % 31 == 0;
}

[[noreturn]] void fail(const ByteSource& file, const Tag& tag, const std::string& why) {
  throw Error(ErrorKind::corrupt, file.name(), tag.at.value, label(tag) + ' ' + why);
}

/// Refuses what cannot be, before memory is set aside for it.
void check_sizes(const ByteSource& file, const Tag& tag) {
  if (tag.memory_size / kLargestRatio > tag.stored_size + kSlack)
    fail(file, tag, "claims to expand to more than it can");
  if (tag.stored_size / 2 > tag.memory_size + kSlack)
    fail(file, tag, "is stored in far more bytes than it has");
}

std::vector<std::byte> head_of(const ByteSource& file, const Tag& tag) {
  std::vector<std::byte> head(static_cast<std::size_t>(
      std::min<std::uint64_t>(tag.stored.size(), CompressedMemory::kBlockHeader)));
  file.read_at(tag.stored.begin(), head);
  return head;
}

std::vector<std::byte> inflated(const ByteSource& file, const Tag& tag) {
  std::vector<std::byte> packed(static_cast<std::size_t>(tag.stored_size));
  file.read_at(tag.stored.begin(), packed);
  std::vector<std::byte> plain(static_cast<std::size_t>(tag.memory_size));
  try {
    decode_page(PageCodec::zlib, packed, plain);
  } catch (const DecodeError& error) {
    fail(file, tag, std::string("is damaged: ") + error.what());
  }
  return plain;
}

/// A view of a file that somebody else owns.
std::shared_ptr<const ByteSource> borrowed(const ByteSource& file) {
  return std::shared_ptr<const ByteSource>(std::shared_ptr<const ByteSource>(), &file);
}

std::vector<std::byte> from_container(const ByteSource& file, const Tag& tag) {
  const auto memory = CompressedMemory::open(borrowed(file), tag.stored, nullptr);
  if (!memory) throw unknown_compression(file, tag);
  if (memory->size() != tag.memory_size) fail(file, tag, "expands to another size than it claims");
  std::vector<std::byte> plain(static_cast<std::size_t>(memory->size()));
  memory->read_at({0}, plain);
  return plain;
}

/// A zlib stream that is inflated piece by piece.
class Inflater {
 public:
  Inflater() {
    if (::inflateInit(&stream_) != Z_OK) throw std::bad_alloc();
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  ~Inflater() { ::inflateEnd(&stream_); }

  bool ended() const { return ended_; }
  void give(std::span<std::byte> packed) {
    stream_.next_in = reinterpret_cast<Bytef*>(packed.data());
    stream_.avail_in = static_cast<uInt>(packed.size());
  }
  /// Fills the beginning of `out`. @returns bytes; 0 if it needs more
  /// @throws DecodeError
  std::size_t take(std::span<std::byte> out) {
    if (ended_) return 0;
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(out.size());
    const int status = ::inflate(&stream_, Z_NO_FLUSH);
    if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR)
      throw DecodeError("zlib data is damaged");
    ended_ = status == Z_STREAM_END;
    return out.size() - stream_.avail_out;
  }

 private:
  z_stream stream_{};
  bool ended_ = false;
};

}  // namespace

Error unknown_compression(const ByteSource& file, const Tag& tag) {
  return Error(ErrorKind::unsupported, file.name(), tag.at.value,
               label(tag) + " is compressed in an unknown way");
}

std::vector<std::byte> expanded(const ByteSource& file, const Tag& tag) {
  const auto head = head_of(file, tag);
  if (is_zlib(head)) {
    check_sizes(file, tag);
    return inflated(file, tag);
  }
  if (CompressedMemory::recognise(head)) return from_container(file, tag);
  throw unknown_compression(file, tag);
}

std::shared_ptr<const ByteSource> expand_to_file(const ByteSource& file, const Tag& tag,
                                                 bool salvage, Diagnostics& diagnostics) {
  if (!is_zlib(head_of(file, tag))) throw unknown_compression(file, tag);
  diagnostics.decision(file.name(), label(tag) + " is a zlib stream, unpacked to a temporary file");
  check_sizes(file, tag);
  TemporaryFile to;
  FileOffset end;
  Inflater inflater;
  RangeReader from(file, tag.stored);
  std::vector<std::byte> packed(kBuffer), plain(kBuffer);
  try {
    while (!inflater.ended()) {
      const std::size_t n = from.read_some(packed);
      if (n == 0) throw DecodeError("zlib data ends early");
      inflater.give(std::span(packed).first(n));
      while (const std::size_t m = inflater.take(plain)) {
        if (m > tag.memory_size - end.value) throw DecodeError("zlib data gives too many bytes");
        to.write_at(end, std::span(plain).first(m));
        end = end + m;
      }
    }
    if (end.value != tag.memory_size) throw DecodeError("zlib data gives too few bytes");
  } catch (const DecodeError& error) {
    const std::string why = std::string("is damaged: ") + error.what();
    if (!salvage) fail(file, tag, why);
    diagnostics.loss(file.name(), tag.at.value, label(tag) + ' ' + why);
  }
  return std::move(to).to_source(file.name());
}

}  // namespace vmconvert::vmware
