#include "support/fastlz_stream.h"

#include <algorithm>
#include <unordered_map>

namespace vmconvert::test {
namespace {

class Encoder {
 public:
  Encoder(std::span<const std::byte> plain, unsigned level) : plain_(plain), level_(level) {}

  Bytes run() {
    std::unordered_map<unsigned, std::size_t> seen;
    std::size_t at = 0;
    while (at < plain_.size()) {
      const std::size_t room = plain_.size() - at;
      if (room < 4 || at == 0) {
        ++at;
        continue;
      }
      unsigned key = 0;
      for (std::size_t i = 0; i < 4; ++i)
        key = key << 8 | std::to_integer<unsigned>(plain_[at + i]);
      const auto found = seen.find(key);
      const std::size_t from = found == seen.end() ? at : found->second;
      seen[key] = at;
      const std::size_t distance = at - from;
      const std::size_t farthest = level_ == 1 ? 8192 : 8191 + 65536;
      if (distance == 0 || distance > farthest) {
        ++at;
        continue;
      }
      std::size_t length = 4;
      const std::size_t most = level_ == 1 ? std::min<std::size_t>(room, 264) : room;
      while (length < most && plain_[from + length] == plain_[at + length]) ++length;
      literals(at);
      match(distance, length);
      at = done_ = at + length;
    }
    literals(plain_.size());
    Bytes bytes = out_.bytes();
    if (level_ == 2 && !bytes.empty()) bytes.front() |= std::byte{0x20};
    return bytes;
  }

 private:
  void literals(std::size_t end) {
    while (done_ < end) {
      const std::size_t n = std::min<std::size_t>(end - done_, 32);
      out_.u8(static_cast<unsigned>(n - 1)).append(plain_.subspan(done_, n));
      done_ += n;
    }
  }

  void match(std::size_t distance, std::size_t length) {
    const std::size_t back = distance - 1;
    const bool far = level_ == 2 && back >= 8191;
    const unsigned high = far ? 31 : static_cast<unsigned>(back >> 8);
    if (length < 9) {
      out_.u8(static_cast<unsigned>(length - 2) << 5 | high);
    } else {
      out_.u8(7U << 5 | high);
      std::size_t more = length - 9;
      for (; level_ == 2 && more >= 255; more -= 255) out_.u8(255);
      out_.u8(static_cast<unsigned>(more));
    }
    if (far) {
      out_.u8(255).be16(static_cast<unsigned>(back - 8191));
    } else {
      out_.u8(static_cast<unsigned>(back & 0xff));
    }
  }

  std::span<const std::byte> plain_;
  unsigned level_;
  std::size_t done_ = 0;
  ByteWriter out_;
};

}  // namespace

Bytes fastlz_stream(std::span<const std::byte> plain, unsigned level) {
  return Encoder(plain, level).run();
}

Bytes compressed_memory(std::span<const std::byte> plain, std::size_t block_size, unsigned level) {
  ByteWriter out;
  for (std::size_t at = 0; at < plain.size(); at += block_size) {
    const auto block = plain.subspan(at, std::min(block_size, plain.size() - at));
    Bytes stream = fastlz_stream(block, level);
    if (stream.size() >= block.size()) stream.assign(block.begin(), block.end());
    out.le32(block.size()).le32(0).le32(stream.size()).le32(0).append(stream);
  }
  return out.bytes();
}

}  // namespace vmconvert::test
