#include "vmconvert/model/xen_page_shapes.h"

#include <array>
#include <string_view>

namespace vmconvert {
namespace {

// Truth: Xen 4.17, xen/include/public/arch-x86/xen-x86_64.h and xen/include/asm/config.h;
// Linux 6.1, arch/x86/include/asm/xen/page.h.
constexpr std::size_t kSelfSlot = 258, kXenFirst = 256, kXenEnd = 272, kLastSlot = 511;
constexpr std::uint64_t kSelfFlags = 0x063, kGlobal = 0x100, kLowFlags = 0xfff;
constexpr std::uint64_t kUpperFlags = 0x7ff0000000000000;  // but for NX
constexpr std::uint64_t kLinkFlags = 7;                    // present, writable, user
constexpr std::uint64_t kForeign = std::uint64_t{1} << 63, kIdentity = std::uint64_t{1} << 62;
constexpr std::uint64_t kPfnsEnd = std::uint64_t{1} << 40;
constexpr std::size_t kFewestFrames = 16;
// A capture of a guest that ran may hold a page that was moved twice.
constexpr std::size_t kMostRepeats = 8;
// Entries that are not present but not zero either: of memory that is swapped out, or protected.
constexpr std::size_t kMostAbsentShare = 8;
constexpr std::uint64_t kKernelHalf = 0xffff800000000000;

/// Frames of one page; every page of memory may have to be put into one.
class FrameSet {
 public:
  /// @param frame  not 0
  /// @returns false if it was there
  bool insert(std::uint32_t frame) {
    std::size_t at = (frame * 0x9e3779b1U) >> 22;
    while (places_[at] != 0 && places_[at] != frame) at = (at + 1) % places_.size();
    const bool is_new = places_[at] == 0;
    places_[at] = frame;
    return is_new;
  }

 private:
  std::array<std::uint32_t, 2 * kXenSlots> places_{};
};

}  // namespace

XenP2mEntry xen_p2m_entry(std::uint64_t word) {
  if (word == ~std::uint64_t{0}) return XenP2mEntry::none;
  if ((word & ~(kForeign | kIdentity)) >= kPfnsEnd) return XenP2mEntry::other;
  if ((word & kForeign) != 0) return XenP2mEntry::foreign;
  if ((word & kIdentity) != 0) return XenP2mEntry::identity;
  return word != 0 && word < kXenFramesEnd ? XenP2mEntry::frame : XenP2mEntry::other;
}

bool is_self_mapped_l4(XenWords page) {
  const std::uint64_t self = page[kSelfSlot];
  if ((self & kLowFlags & ~kGlobal) != kSelfFlags || (self & kUpperFlags) != 0) return false;
  if (xen_entry_frame(self) - 1 >= kXenFramesEnd - 1) return false;
  const auto is_link = [](std::uint64_t word) {
    return is_xen_entry(word) && (word & kLinkFlags) == kLinkFlags;
  };
  if (!is_link(page[kLastSlot])) return false;
  for (std::size_t slot = 0; slot < kXenSlots; ++slot) {
    const bool xens = slot >= kXenFirst && slot < kXenEnd;
    const std::uint64_t word = page[slot];
    if (word != 0 && !(xens ? (word & 1) != 0 : is_link(word))) return false;
  }
  return true;
}

bool is_plain_l4(XenWords page) {
  if ((page[kLastSlot] & 3) != 3) return false;
  for (std::size_t slot = kXenFirst; slot < kXenEnd; ++slot) {
    if (page[slot] != 0) return false;
  }
  for (std::size_t slot = 0; slot < kXenSlots; ++slot) {
    if (page[slot] != 0 && (page[slot] & 3) != 3) return false;
  }
  return true;
}

std::size_t xen_table_entries(XenWords page) {
  std::size_t present = 0, absent = 0;
  for (std::size_t slot = 0; slot < kXenSlots; ++slot) {
    const std::uint64_t word = page[slot];
    if (word == 0) continue;
    if (is_xen_entry(word)) {
      ++present;
    } else if ((word & 1) != 0 || ++absent * kMostAbsentShare > kXenSlots) {
      return 0;
    }
  }
  return absent * kMostAbsentShare <= present ? present : 0;
}

XenFrameList xen_frame_list(XenWords page) {
  std::size_t frames = 0;
  for (std::size_t slot = 0; slot < kXenSlots; ++slot) {
    const XenP2mEntry entry = xen_p2m_entry(page[slot]);
    if (entry == XenP2mEntry::other) return XenFrameList::no;
    frames += entry == XenP2mEntry::frame ? 1U : 0U;
  }
  if (frames < kFewestFrames) return XenFrameList::no;
  FrameSet seen;
  std::size_t repeats = 0;
  for (std::size_t slot = 0; slot < kXenSlots && repeats <= kMostRepeats; ++slot) {
    if (xen_p2m_entry(page[slot]) == XenP2mEntry::frame)
      repeats += seen.insert(static_cast<std::uint32_t>(page[slot])) ? 0U : 1U;
  }
  return repeats <= kMostRepeats ? XenFrameList::distinct : XenFrameList::repeated;
}

bool is_xen_pointer_list(XenWords page) {
  for (std::size_t slot = 0; slot < kXenSlots; ++slot) {
    const std::uint64_t word = page[slot];
    if (word < kKernelHalf || (word & kLowFlags) != 0) return false;
  }
  return true;
}

std::optional<XenStartInfo> read_xen_start_info(std::span<const std::byte> page) {
  // Truth: xen/include/public/xen.h. The magic is followed by words of the guest.
  constexpr std::string_view kWide = "xen-3.0-x86_64", kNarrow = "xen-3.0-x86_32p";
  constexpr std::size_t kMagicSize = 32;
  std::string_view magic(reinterpret_cast<const char*>(page.data()), kMagicSize);
  magic = magic.substr(0, magic.find('\0'));
  if (magic != kWide && magic != kNarrow) return std::nullopt;
  const bool wide = magic == kWide;
  const auto word = [&](std::size_t wide_at, std::size_t narrow_at) -> std::uint64_t {
    return wide ? load<std::uint64_t>(page.subspan(wide_at), std::endian::little)
                : load<std::uint32_t>(page.subspan(narrow_at), std::endian::little);
  };
  XenStartInfo info{.width = wide ? 8U : 4U,
                    .nr_pages = word(32, 32),
                    .store_frame = word(56, 44),
                    .console_frame = word(72, 52),
                    .mfn_list = word(104, 68)};
  const std::uint64_t kernel = wide ? kKernelHalf : 0xc0000000, pt_base = word(88, 60);
  if (info.nr_pages == 0 || info.nr_pages >= kXenFramesEnd || info.mfn_list < kernel ||
      pt_base < kernel || pt_base % 4096 != 0)
    return std::nullopt;
  return info;
}

}  // namespace vmconvert
