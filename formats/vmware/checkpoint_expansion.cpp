#include "vmware/checkpoint_expansion.h"

#include "vmconvert/base/packed.h"
#include "vmconvert/io/decoder.h"
#include "vmconvert/io/page_codec.h"

namespace vmconvert::vmware {
namespace {

// What a byte of a zlib stream becomes at the most; zlib, "maximum compression factor".
constexpr std::uint64_t kLargestRatio = 1032, kSlack = 1024;

/// RFC 1950: deflate, a window that exists, and a check of both bytes.
bool is_zlib(std::span<const std::byte> head) {
  if (head.size() < 2 || (std::to_integer<unsigned>(head[0]) & 0x8fU) != 0x08) return false;
  return load<std::uint16_t>(head, std::endian::big) % 31 == 0;
}

}  // namespace

std::vector<std::byte> expanded(const ByteSource& file, const Tag& tag) {
  const auto fail = [&](ErrorKind kind, const std::string& why) {
    throw Error(kind, file.name(), tag.at.value, label(tag) + ' ' + why);
  };
  std::array<std::byte, 2> head{};
  if (tag.stored.size() >= head.size()) file.read_at(tag.stored.begin(), head);
  if (!is_zlib(head)) fail(ErrorKind::unsupported, "is compressed in an unknown way");
  if (tag.memory_size / kLargestRatio > tag.stored_size + kSlack)
    fail(ErrorKind::corrupt, "claims to expand to more than it can");
  if (tag.stored_size / 2 > tag.memory_size + kSlack)
    fail(ErrorKind::corrupt, "is stored in far more bytes than it has");
  std::vector<std::byte> packed(static_cast<std::size_t>(tag.stored_size));
  file.read_at(tag.stored.begin(), packed);
  std::vector<std::byte> plain(static_cast<std::size_t>(tag.memory_size));
  try {
    decode_page(PageCodec::zlib, packed, plain);
  } catch (const DecodeError& error) {
    fail(ErrorKind::corrupt, std::string("is damaged: ") + error.what());
  }
  return plain;
}

}  // namespace vmconvert::vmware
