#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "vmconvert/base/packed.h"

namespace vmconvert {

// What pages of a 64-bit PV guest of Xen look like: all that tells them in an image without a
// container. Facts: docs/formats/xen.md, "Raw and LiME images".

inline constexpr std::size_t kXenSlots = 512;                           ///< words of a page
inline constexpr std::uint64_t kXenFramesEnd = std::uint64_t{1} << 32;  ///< no host has more

/// A page as 512 little-endian words, where it lies.
class XenWords {
 public:
  /// @param page  at least 4096 bytes, which must outlive this
  explicit XenWords(std::span<const std::byte> page) : bytes_(page.data()) {}
  std::uint64_t operator[](std::size_t slot) const {
    std::uint64_t word;
    if constexpr (std::endian::native == std::endian::little) {
      std::memcpy(&word, bytes_ + slot * sizeof(word), sizeof(word));
    } else {
      word = load<std::uint64_t>({bytes_ + slot * sizeof(word), sizeof(word)}, std::endian::little);
    }
    return word;
  }

 private:
  const std::byte* bytes_;
};

/// What one entry of a p2m says of its page.
enum class XenP2mEntry : std::uint8_t {
  none,      ///< all ones: no page
  identity,  ///< bit 62: not RAM, but I/O memory of the same number
  foreign,   ///< bit 63: a page of another guest
  frame,     ///< a machine frame
  other,     ///< no entry of a p2m at all
};
XenP2mEntry xen_p2m_entry(std::uint64_t word);

/// The frame of a page-table entry, whatever it is of.
inline std::uint64_t xen_entry_frame(std::uint64_t entry) {
  return (entry & 0x000ffffffffff000) >> 12;
}
/// Present, and for a kernel that runs in ring 3, as every entry of a PV guest is.
inline bool is_xen_entry(std::uint64_t word) {
  return (word & 5) == 5 && (word >> 59 & 0xf) == 0 &&
         xen_entry_frame(word) - 1 < kXenFramesEnd - 1;
}

/// An L4 that Xen made one of a PV guest: slot 258 maps the table itself.
bool is_self_mapped_l4(XenWords page);
/// What may be an L4 of any kernel, but is none in use by a PV guest of machine frames: nothing in
/// the slots of Xen.
bool is_plain_l4(XenWords page);
/// Entries of a page that can be a table of a PV guest, an L4 aside; 0 if it cannot.
std::size_t xen_table_entries(XenWords page);

enum class XenFrameList : std::uint8_t {
  no,
  distinct,  ///< as a page of a p2m is
  repeated,  ///< as a page of the toolstack's frame list may be
};
XenFrameList xen_frame_list(XenWords page);

/// 512 kernel addresses of whole pages: what upper pages of a p2m tree are.
bool is_xen_pointer_list(XenWords page);

/// The page that the domain's builder leaves to the kernel.
struct XenStartInfo {
  unsigned width = 8;  ///< bytes of the guest's words
  std::uint64_t nr_pages = 0;
  std::uint64_t store_frame = 0, console_frame = 0;  ///< of the pages behind this one
  std::uint64_t mfn_list = 0;                        ///< gva of the p2m
};
/// @param page  4096 bytes
std::optional<XenStartInfo> read_xen_start_info(std::span<const std::byte> page);

}  // namespace vmconvert
