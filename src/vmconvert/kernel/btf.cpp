#include "vmconvert/kernel/btf.h"

#include "vmconvert/base/packed.h"

namespace vmconvert {
namespace {

// struct btf_header: 0 u16 magic, 2 u8 version, 3 u8 flags, 4 u32 hdr_len, 8 type_off, 12 type_len,
// 16 str_off, 20 str_len; offsets count from the end of the header.
constexpr std::uint16_t kMagic = 0xeb9f;
constexpr std::size_t kHeader = 24;
constexpr std::uint64_t kLargest = 64 << 20;  // a kernel's has 5 to 15 MiB
constexpr std::size_t kMostTypes = 1 << 21;
constexpr int kDeepest = 16;  // anonymous structs within anonymous structs
constexpr std::size_t kMostMembers = 1 << 16;
enum Kind : std::uint32_t {
  kInt = 1,
  kArray = 3,
  kStruct = 4,
  kUnion = 5,
  kEnum = 6,
  kFuncProto = 13,
  kVar = 14,
  kDataSection = 15,
  kDeclTag = 17,
  kEnum64 = 19
};

class Btf {
 public:
  Btf(std::span<const std::byte> bytes, std::endian order) : bytes_(bytes), order_(order) {}

  /// Finds where each type begins. False if the bytes are no BTF.
  bool parse() {
    if (!btf_size(bytes_, order_)) return false;
    const std::uint64_t base = word(4);
    const std::uint64_t types = base + word(8), end = types + word(12);
    strings_ = base + word(16);
    strings_end_ = strings_ + word(20);
    if (end > bytes_.size() || strings_end_ > bytes_.size()) return false;
    types_.push_back(0);  // type 0 is void
    for (std::uint64_t at = types; at + 12 <= end;) {
      if (types_.size() == kMostTypes) return false;
      types_.push_back(at);
      at += 12 + extra(at);
      if (at > end) return false;
    }
    return true;
  }

  std::optional<BtfStruct> find(std::string_view name) {
    for (std::size_t id = 1; id < types_.size(); ++id) {
      const std::uint64_t at = types_[id];
      if (kind(at) != kStruct || text(word(at)) != name) continue;
      BtfStruct result{.size = word(at + 8), .members = {}};
      add_members(at, 0, kDeepest, result);
      return result;
    }
    return std::nullopt;
  }

 private:
  std::uint32_t word(std::uint64_t at) const {
    return load<std::uint32_t>(bytes_.subspan(static_cast<std::size_t>(at), 4), order_);
  }
  std::uint32_t kind(std::uint64_t at) const { return (word(at + 4) >> 24) & 0x1f; }
  std::uint32_t count(std::uint64_t at) const { return word(at + 4) & 0xffff; }

  /// Bytes behind a type's 12 common ones.
  std::uint64_t extra(std::uint64_t at) const {
    switch (kind(at)) {
      case kInt:
      case kVar:
      case kDeclTag:
        return 4;
      case kArray:
        return 12;
      case kStruct:
      case kUnion:
      case kDataSection:
      case kEnum64:
        return std::uint64_t{12} * count(at);
      case kEnum:
      case kFuncProto:
        return std::uint64_t{8} * count(at);
      default:
        return 0;
    }
  }

  std::string_view text(std::uint32_t offset) const {
    const std::uint64_t at = strings_ + offset;
    if (at >= strings_end_) return "";
    const std::string_view rest(
        reinterpret_cast<const char*>(bytes_.data()) + static_cast<std::size_t>(at),
        static_cast<std::size_t>(strings_end_ - at));
    return rest.substr(0, rest.find('\0'));
  }

  void add_members(std::uint64_t at, std::uint64_t base, int depth, BtfStruct& to) {
    const bool has_bitfields = (word(at + 4) >> 31) != 0;
    for (std::uint32_t i = 0; i < count(at) && visited_ < kMostMembers; ++i) {
      ++visited_;
      const std::uint64_t member = at + 12 + std::uint64_t{12} * i;
      const std::uint32_t bits = word(member + 8) & (has_bitfields ? 0xffffff : 0xffffffff);
      const std::string_view name = text(word(member));
      const std::uint64_t offset = base + bits / 8;
      if (!name.empty()) {
        to.members.emplace(name, offset);
        continue;
      }
      const std::uint32_t type = word(member + 4);
      if (depth == 0 || type >= types_.size() || type == 0) continue;
      const std::uint64_t inner = types_[type];
      if (kind(inner) == kStruct || kind(inner) == kUnion)
        add_members(inner, offset, depth - 1, to);
    }
  }

  std::span<const std::byte> bytes_;
  std::endian order_;
  std::uint64_t strings_ = 0, strings_end_ = 0;
  std::vector<std::uint64_t> types_;
  std::size_t visited_ = 0;  ///< members, those of structs within structs included
};

}  // namespace

std::optional<std::uint64_t> btf_size(std::span<const std::byte> bytes, std::endian order) {
  if (bytes.size() < kHeader || load<std::uint16_t>(bytes, order) != kMagic ||
      std::to_integer<int>(bytes[2]) != 1)
    return std::nullopt;
  const auto word = [&](std::size_t at) {
    return std::uint64_t{load<std::uint32_t>(bytes.subspan(at), order)};
  };
  // Linux writes the strings behind the types, and both are not small.
  if (word(4) != kHeader || word(8) != 0 || word(16) != word(12)) return std::nullopt;
  const std::uint64_t size = kHeader + word(12) + word(20);
  if (word(12) < 1024 || word(20) < 1024 || size > kLargest) return std::nullopt;
  return size;
}

std::optional<BtfStruct> find_btf_struct(std::span<const std::byte> bytes, std::endian order,
                                         std::string_view name) {
  Btf btf(bytes, order);
  return btf.parse() ? btf.find(name) : std::nullopt;
}

}  // namespace vmconvert
