#include "vmconvert/io/decoder.h"

#include <lz4frame.h>
#include <lzo/lzo1x.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <boost/iostreams/categories.hpp>
#include <boost/iostreams/filter/bzip2.hpp>
#include <boost/iostreams/filter/gzip.hpp>
#include <boost/iostreams/filter/lzma.hpp>
#include <boost/iostreams/filtering_streambuf.hpp>
#include <vector>

#include "vmconvert/base/packed.h"

namespace vmconvert {
namespace {

namespace io = boost::iostreams;

constexpr std::size_t kInputBuffer = 256 * 1024;
constexpr const char* kEndsEarly = "the stream ends early";

// --- gzip, bzip2, xz -----------------------------------------------------------------------------

/// A Boost.Iostreams source over a SequentialReader.
struct BoostSource {
  using char_type = char;
  using category = io::source_tag;
  SequentialReader* reader;
  bool* ended;
  std::streamsize read(char* out, std::streamsize size) {
    const auto n =
        reader->read_some(std::as_writable_bytes(std::span(out, static_cast<std::size_t>(size))));
    if (n == 0) *ended = true;
    return n == 0 ? -1 : static_cast<std::streamsize>(n);
  }
};

class BoostDecoder final : public SequentialReader {
 public:
  BoostDecoder(Codec codec, SequentialReader& from) {
    if (codec == Codec::gzip) chain_.push(io::gzip_decompressor(15, kInputBuffer), kStep);
    if (codec == Codec::bzip2) chain_.push(io::bzip2_decompressor(false, kInputBuffer), kStep);
    if (codec == Codec::xz) chain_.push(io::lzma_decompressor(kInputBuffer), kStep);
    chain_.push(BoostSource{&from, &ended_});
  }

  std::size_t read_some(std::span<std::byte> out) override {
    try {
      if (failed_ || std::char_traits<char>::eq_int_type(chain_.sgetc(), EOF)) {
        if (failed_) throw DecodeError(ended_ ? kEndsEarly : "the stream is damaged");
        return 0;
      }
    } catch (const std::ios_base::failure&) {
      // Boost's exceptions all derive from this one; their texts carry nothing a user could use.
      failed_ = true;
      throw DecodeError(ended_ ? kEndsEarly : "the stream is damaged");
    }
    const auto n = std::min(static_cast<std::streamsize>(out.size()), chain_.in_avail());
    return static_cast<std::size_t>(chain_.sgetn(reinterpret_cast<char*>(out.data()), n));
  }

 private:
  // What a damaged stream decoded to is lost in steps of this size.
  static constexpr std::streamsize kStep = 4096;
  bool ended_ = false;
  bool failed_ = false;
  io::filtering_streambuf<io::input> chain_;
};

// --- zstd, lz4, lzop: input is taken from a buffer -----------------------------------------------

class InputBuffer {
 public:
  explicit InputBuffer(SequentialReader& from) : from_(from), bytes_(kInputBuffer) {}

  /// What is at hand; read anew when everything was consumed. Empty at the end of the input.
  std::span<const std::byte> available() {
    if (begin_ == end_) {
      begin_ = 0;
      end_ = from_.read_some(bytes_);
    }
    return std::span(bytes_).subspan(begin_, end_ - begin_);
  }
  void consume(std::size_t n) { begin_ += n; }

  /// Exactly out.size() bytes. @throws DecodeError if the input ends before that
  void read(std::span<std::byte> out) {
    while (!out.empty()) {
      const auto part = available();
      if (part.empty()) throw DecodeError(kEndsEarly);
      const std::size_t n = std::min(part.size(), out.size());
      std::copy_n(part.begin(), n, out.begin());
      consume(n);
      out = out.subspan(n);
    }
  }

 private:
  SequentialReader& from_;
  std::vector<std::byte> bytes_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

class ZstdDecoder final : public SequentialReader {
 public:
  explicit ZstdDecoder(SequentialReader& from) : input_(from), context_(ZSTD_createDCtx()) {
    if (!context_) throw std::bad_alloc();
  }

  std::size_t read_some(std::span<std::byte> out) override {
    ZSTD_outBuffer to{out.data(), out.size(), 0};
    while (to.pos == 0) {
      const auto part = input_.available();
      if (part.empty() && !inside_frame_) return 0;
      ZSTD_inBuffer from{part.data(), part.size(), 0};
      const std::size_t left = ZSTD_decompressStream(context_.get(), &to, &from);
      if (ZSTD_isError(left) != 0) throw DecodeError(ZSTD_getErrorName(left));
      input_.consume(from.pos);
      inside_frame_ = left != 0;
      if (part.empty() && to.pos == 0) throw DecodeError(kEndsEarly);
    }
    return to.pos;
  }

 private:
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  InputBuffer input_;
  std::unique_ptr<ZSTD_DCtx, Free> context_;
  bool inside_frame_ = false;
};

class Lz4Decoder final : public SequentialReader {
 public:
  explicit Lz4Decoder(SequentialReader& from) : input_(from) {
    LZ4F_dctx* context = nullptr;
    if (LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION)) != 0) {
      throw std::bad_alloc();
    }
    context_.reset(context);
  }

  std::size_t read_some(std::span<std::byte> out) override {
    for (;;) {
      const auto part = input_.available();
      if (part.empty() && !inside_frame_) return 0;
      std::size_t written = out.size();
      std::size_t used = part.size();
      const std::size_t left =
          LZ4F_decompress(context_.get(), out.data(), &written, part.data(), &used, nullptr);
      if (LZ4F_isError(left) != 0) throw DecodeError(LZ4F_getErrorName(left));
      input_.consume(used);
      inside_frame_ = left != 0;
      if (written != 0) return written;
      if (part.empty()) throw DecodeError(kEndsEarly);
    }
  }

 private:
  struct Free {
    void operator()(LZ4F_dctx* context) const { LZ4F_freeDecompressionContext(context); }
  };
  InputBuffer input_;
  std::unique_ptr<LZ4F_dctx, Free> context_;
  bool inside_frame_ = false;
};

/// lzop files. Truth: lzop 1.04, src/lzop.c, functions read_header and lzo_decompress; integers are
/// big-endian.
class LzopDecoder final : public SequentialReader {
 public:
  explicit LzopDecoder(SequentialReader& from) : input_(from) {}

  std::size_t read_some(std::span<std::byte> out) override {
    while (given_ == plain_.size()) {
      if (!inside_file_) {
        if (input_.available().empty()) return 0;
        read_header();
        inside_file_ = true;
      }
      inside_file_ = read_block();
    }
    const std::size_t n = std::min(out.size(), plain_.size() - given_);
    std::copy_n(plain_.begin() + static_cast<std::ptrdiff_t>(given_), n, out.begin());
    given_ += n;
    return n;
  }

 private:
  static constexpr std::uint32_t kAdlerPlain = 0x1, kAdlerPacked = 0x2, kExtraField = 0x40,
                                 kCrcPlain = 0x100, kCrcPacked = 0x200, kFilter = 0x800,
                                 kHeaderCrc = 0x1000;
  static constexpr std::uint32_t kLargestBlock = 64U << 20;  // lzop's own limit

  template <std::unsigned_integral T>
  T read() {
    std::array<std::byte, sizeof(T)> bytes{};
    read_header_bytes(bytes);
    return load<T>(bytes, std::endian::big);
  }
  void read_header_bytes(std::span<std::byte> bytes) {
    if (bytes.empty()) return;  // a null pointer would reset zlib's sums
    input_.read(bytes);
    const auto* data = reinterpret_cast<const Bytef*>(bytes.data());
    const auto size = static_cast<uInt>(bytes.size());
    header_adler_ = static_cast<std::uint32_t>(::adler32(header_adler_, data, size));
    header_crc_ = static_cast<std::uint32_t>(::crc32(header_crc_, data, size));
  }

  void read_header() {
    std::array<std::byte, 9> magic{};
    input_.read(magic);
    if (recognise_codec(magic) != Codec::lzop) throw DecodeError("lzop magic number missing");
    header_adler_ = 1;
    header_crc_ = 0;
    const auto version = read<std::uint16_t>();
    read<std::uint16_t>();  // library version
    const bool modern = version >= 0x0940;
    if (modern) read<std::uint16_t>();  // version needed to extract
    const auto method = read<std::uint8_t>();
    if (method < 1 || method > 3) throw DecodeError("unknown lzop method");  // all are LZO1X
    if (modern) read<std::uint8_t>();                                        // level
    flags_ = read<std::uint32_t>();
    if ((flags_ & kFilter) != 0) throw DecodeError("lzop filters are not supported");
    read<std::uint32_t>();  // mode
    read<std::uint32_t>();  // mtime
    if (modern) read<std::uint32_t>();
    std::vector<std::byte> name(read<std::uint8_t>());
    read_header_bytes(name);
    check_header();
    if ((flags_ & kExtraField) != 0) skip_extra_field();
  }

  void check_header() {
    const std::uint32_t expected = (flags_ & kHeaderCrc) != 0 ? header_crc_ : header_adler_;
    if (read<std::uint32_t>() != expected) throw DecodeError("lzop header checksum does not match");
  }

  void skip_extra_field() {
    const auto size = read<std::uint32_t>();
    if (size > kLargestBlock) throw DecodeError("lzop extra field is too large");
    std::vector<std::byte> content(size);
    input_.read(content);
    read<std::uint32_t>();  // its checksum
  }

  /// False at the end mark of a file.
  bool read_block() {
    plain_.clear();
    given_ = 0;
    const auto plain_size = read<std::uint32_t>();
    if (plain_size == 0) return false;
    const auto packed_size = read<std::uint32_t>();
    if (plain_size > kLargestBlock || packed_size > plain_size || packed_size == 0) {
      throw DecodeError("lzop block size is impossible");
    }
    const Sums plain_sums = read_sums(kAdlerPlain, kCrcPlain);
    const bool stored = packed_size == plain_size;
    const Sums packed_sums = stored ? Sums{} : read_sums(kAdlerPacked, kCrcPacked);
    packed_.resize(packed_size);
    input_.read(packed_);
    check(packed_, packed_sums);
    if (stored) {
      plain_ = packed_;
    } else {
      expand(plain_size);
    }
    check(plain_, plain_sums);
    return true;
  }

  void expand(std::uint32_t plain_size) {
    plain_.resize(plain_size);
    lzo_uint size = plain_size;
    const int status = ::lzo1x_decompress_safe(
        reinterpret_cast<const unsigned char*>(packed_.data()), packed_.size(),
        reinterpret_cast<unsigned char*>(plain_.data()), &size, nullptr);
    if (status != LZO_E_OK || size != plain_size) throw DecodeError("lzop block is damaged");
  }

  struct Sums {
    std::optional<std::uint32_t> adler, crc;
  };
  Sums read_sums(std::uint32_t adler_flag, std::uint32_t crc_flag) {
    Sums sums;
    if ((flags_ & adler_flag) != 0) sums.adler = read<std::uint32_t>();
    if ((flags_ & crc_flag) != 0) sums.crc = read<std::uint32_t>();
    return sums;
  }
  static void check(std::span<const std::byte> bytes, const Sums& sums) {
    const auto* data = reinterpret_cast<const Bytef*>(bytes.data());
    const auto size = static_cast<uInt>(bytes.size());
    if ((sums.adler && ::adler32(1, data, size) != *sums.adler) ||
        (sums.crc && ::crc32(0, data, size) != *sums.crc)) {
      throw DecodeError("lzop block checksum does not match");
    }
  }

  InputBuffer input_;
  std::uint32_t flags_ = 0;
  std::uint32_t header_adler_ = 1;
  std::uint32_t header_crc_ = 0;
  bool inside_file_ = false;
  std::vector<std::byte> packed_;
  std::vector<std::byte> plain_;
  std::size_t given_ = 0;  ///< how much of plain_ was handed out
};

}  // namespace

std::unique_ptr<SequentialReader> make_decoder(Codec codec, SequentialReader& from) {
  switch (codec) {
    case Codec::zstd:
      return std::make_unique<ZstdDecoder>(from);
    case Codec::lz4:
      return std::make_unique<Lz4Decoder>(from);
    case Codec::lzop:
      return std::make_unique<LzopDecoder>(from);
    default:
      return std::make_unique<BoostDecoder>(codec, from);
  }
}

}  // namespace vmconvert
