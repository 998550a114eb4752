#include "vmware/fastlz.h"

#include <algorithm>
#include <cstdint>

#include "vmconvert/io/decoder.h"

namespace vmconvert::vmware {
namespace {

// Truth: FastLZ 0.5, whose own decoder was compared with this grammar; docs/formats/vmware.md
//   first byte  level - 1 in bits 7-5, number of literals - 1 in bits 4-0
//   then, until the stream ends, control bytes:
//     0 to 31   that many literals + 1 follow
//     others    n = bits 7-5, h = bits 4-0: n + 2 bytes are repeated; if n is 7, more by the next
//               byte (level 1), or by bytes up to and including the first that is not 255
//               (level 2). Then a byte d: from h * 256 + d + 1 bytes back. Level 2, h 31, d 255:
//               two more bytes, big-endian, count from 8192 on.
constexpr unsigned kFewBits = 5, kLowMask = 31, kLongMatch = 7;
constexpr std::size_t kFarDistance = 8191;

class Decoder {
 public:
  Decoder(std::span<const std::byte> packed, std::span<std::byte> plain)
      : packed_(packed), plain_(plain) {}

  void run() {
    const unsigned first = next();
    const unsigned level = (first >> kFewBits) + 1;
    if (level > 2) fail("is of an unknown level");
    literals((first & kLowMask) + 1);
    while (!packed_.empty()) {
      const unsigned control = next();
      if (control <= kLowMask) {
        literals(control + 1);
      } else if (level == 1) {
        match_of_level_1(control);
      } else {
        match_of_level_2(control);
      }
    }
    if (done_ != plain_.size()) fail("gives too few bytes");
  }

 private:
  [[noreturn]] static void fail(const char* why) {
    throw DecodeError(std::string("FastLZ data ") + why);
  }

  unsigned next() {
    if (packed_.empty()) fail("ends early");
    const auto byte = std::to_integer<unsigned>(packed_.front());
    packed_ = packed_.subspan(1);
    return byte;
  }

  void literals(std::size_t count) {
    if (count > packed_.size()) fail("ends early");
    if (count > plain_.size() - done_) fail("gives too many bytes");
    std::copy_n(packed_.begin(), count, plain_.begin() + static_cast<std::ptrdiff_t>(done_));
    packed_ = packed_.subspan(count);
    done_ += count;
  }

  void match_of_level_1(unsigned control) {
    std::size_t length = (control >> kFewBits) + 2;
    if (control >> kFewBits == kLongMatch) length += next();
    const std::size_t high = control & kLowMask;
    repeat(high * 256 + next() + 1, length);
  }

  void match_of_level_2(unsigned control) {
    std::size_t length = (control >> kFewBits) + 2;
    if (control >> kFewBits == kLongMatch) {
      unsigned more = 0;
      do {
        more = next();
        length += more;
      } while (more == 255);
    }
    const std::size_t high = control & kLowMask;
    std::size_t distance = high * 256 + next();
    if (distance == kFarDistance) {
      const std::size_t far = next();
      distance += far * 256 + next();
    }
    repeat(distance + 1, length);
  }

  /// The bytes may be among those that are repeated.
  void repeat(std::size_t distance, std::size_t length) {
    if (distance > done_) fail("refers to bytes before its beginning");
    if (length > plain_.size() - done_) fail("gives too many bytes");
    std::byte* out = plain_.data() + done_;
    const std::byte* from = out - distance;
    done_ += length;
    if (distance == 1) {
      std::fill_n(out, length, *from);
    } else if (distance >= length) {
      std::copy_n(from, length, out);
    } else {
      while (length-- != 0) *out++ = *from++;
    }
  }

  std::span<const std::byte> packed_;
  std::span<std::byte> plain_;
  std::size_t done_ = 0;
};

}  // namespace

void decode_fastlz(std::span<const std::byte> packed, std::span<std::byte> plain) {
  Decoder(packed, plain).run();
}

}  // namespace vmconvert::vmware
