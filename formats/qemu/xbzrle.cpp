#include "qemu/xbzrle.h"

#include <algorithm>
#include <optional>

namespace vmconvert::qemu {
namespace {

constexpr unsigned kMore = 0x80;

/// Takes one length from the front: 7 bits, or 14 bits in two bytes, the lower seven first.
std::optional<std::size_t> take_length(std::span<const std::byte>& delta) {
  if (delta.empty()) return std::nullopt;
  const auto low = std::to_integer<unsigned>(delta[0]);
  if ((low & kMore) == 0) {
    delta = delta.subspan(1);
    return low;
  }
  if (delta.size() < 2) return std::nullopt;
  const auto high = std::to_integer<unsigned>(delta[1]);
  if ((high & kMore) != 0) return std::nullopt;
  delta = delta.subspan(2);
  return (low & ~kMore) | high << 7;
}

}  // namespace

std::string_view apply_xbzrle(std::span<const std::byte> delta, std::span<std::byte> page) {
  for (bool first = true; !delta.empty(); first = false) {
    const auto same = take_length(delta);
    if (!same) return "holds a length that is cut off or too long";
    // Only the page's first byte can have changed without an equal byte before it.
    if (*same == 0 && !first) return "holds an empty run of equal bytes";
    if (*same > page.size()) return "reaches past the end of its page";
    page = page.subspan(*same);
    const auto changed = take_length(delta);
    if (!changed) return "holds a length that is cut off or too long";
    if (*changed == 0) return "holds an empty run of changed bytes";
    if (*changed > page.size()) return "reaches past the end of its page";
    if (*changed > delta.size()) return "ends inside a run of changed bytes";
    std::copy_n(delta.begin(), *changed, page.begin());
    page = page.subspan(*changed);
    delta = delta.subspan(*changed);
  }
  return "";
}

}  // namespace vmconvert::qemu
