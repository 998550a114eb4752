#include "vmconvert/model/xen_tables.h"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "vmconvert/base/packed.h"

namespace vmconvert {
namespace {

// Truth: Xen 4.17, xen/include/public/arch-x86/xen-x86_64.h, xen-x86_32.h; Intel SDM vol. 3, 4.5.
constexpr std::size_t kSlots = 512;
constexpr std::size_t kXenFirst = 256, kXenEnd = 272, kSelfSlot = 258;  // of L4
// Of L4: where Linux maps all of memory, until 4.20 and since.
constexpr std::size_t kDirectMapSlots[] = {272, 273};
constexpr std::size_t kNarrowXen = 428;  // (0xf5800000 >> 21) & 511
constexpr std::size_t kNarrowEntries = 4, kNarrowKernel = 3;
constexpr std::uint64_t kPresent = 1, kWritable = 2, kLarge = 1U << 7;
constexpr std::uint64_t kFrameMask = 0x000ffffffffff000;
constexpr std::uint64_t kPageShift = 12;
constexpr std::size_t kMostStrays = 16;  // that are told one by one

using Table = std::array<le64, kSlots>;

Mfn frame(std::uint64_t entry) { return {(entry & kFrameMask) >> kPageShift}; }

}  // namespace

bool is_slot_of_xen(XenTableKind kind, std::size_t slot) {
  switch (kind) {
    case XenTableKind::l4:
      return slot >= kXenFirst && slot < kXenEnd;
    case XenTableKind::narrow_l2:
      return slot >= kNarrowXen;
    case XenTableKind::narrow_l3:
      return slot >= kNarrowEntries;
    default:
      return false;
  }
}

std::string_view table_kind_name(XenTableKind kind) {
  switch (kind) {
    case XenTableKind::l1:
      return "L1";
    case XenTableKind::l2:
    case XenTableKind::narrow_l2:
      return "L2";
    case XenTableKind::l3:
    case XenTableKind::narrow_l3:
      return "L3";
    case XenTableKind::l4:
      break;
  }
  return "L4";
}

namespace {

/// Large pages, of which Xen gives PV guests none, would have to be contiguous in the guest, too.
bool is_large(XenTableKind kind, std::uint64_t entry) {
  return (entry & kLarge) != 0 && kind != XenTableKind::l1 && kind != XenTableKind::l4 &&
         kind != XenTableKind::narrow_l3;
}

std::optional<XenTableKind> child_of(XenTableKind kind, std::size_t slot) {
  switch (kind) {
    case XenTableKind::l4:
      return XenTableKind::l3;
    case XenTableKind::l3:
      return XenTableKind::l2;
    case XenTableKind::narrow_l3:
      return slot == kNarrowKernel ? XenTableKind::narrow_l2 : XenTableKind::l2;
    case XenTableKind::l2:
    case XenTableKind::narrow_l2:
      return XenTableKind::l1;
    case XenTableKind::l1:
      break;
  }
  return std::nullopt;
}

/// True for entries of a root that map the kernel.
bool is_kernels(XenTableKind kind, std::size_t slot) {
  return kind == XenTableKind::l4 ? slot >= kXenEnd
                                  : kind == XenTableKind::narrow_l3 && slot == kNarrowKernel;
}

class Finder {
 public:
  Finder(const XenM2p& m2p, const XenTableSearch& search)
      : search_(search), pages_(m2p), m2p_(m2p), seen_(m2p.size()) {}

  XenTableSet run() {
    const std::vector<Pfn> roots = known_roots();
    for (const Pfn root : roots) {
      if (is_misnamed(root)) ++set_.misnamed_roots;
      if (const auto kernel = kernel_entry_of(root)) kernel_entries_.push_back(*kernel);
      add_root(root);
    }
    std::sort(kernel_entries_.begin(), kernel_entries_.end());
    // New roots lead to pages that are mapped read-only by no other.
    while (!candidates_.empty()) {
      const Pfn pfn = pages_.pfn_at(candidates_.back());
      candidates_.pop_back();
      if (!set_.tables.contains(pfn) && is_root(pfn)) add_root(pfn);
    }
    return std::move(set_);
  }

 private:
  bool read(Pfn pfn, Table& table) const {
    return search_.read(pfn, std::as_writable_bytes(std::span(table)));
  }

  void add_root(Pfn pfn) {
    if (set_.tables.contains(pfn)) return;
    walk(pfn, search_.width == 4 ? XenTableKind::narrow_l3 : XenTableKind::l4, false);
    if (set_.tables.contains(pfn)) ++set_.roots;
  }

  /// Down to the leaves; at most four deep. `kernel`: in the kernel's part of the address space.
  void walk(Pfn pfn, XenTableKind kind, bool kernel) {
    const auto known = set_.tables.find(pfn);
    if (known != set_.tables.end()) {
      if (known->second != kind) ++set_.conflicts;
      return;
    }
    Table table;
    if (!read(pfn, table)) return;
    set_.tables.emplace(pfn, kind);
    for (std::size_t slot = 0; slot < kSlots; ++slot) {
      const std::uint64_t entry = table[slot];
      if ((entry & kPresent) == 0 || is_slot_of_xen(kind, slot)) continue;
      ++set_.entries;
      const auto index = is_large(kind, entry) ? std::nullopt : m2p_.find_index(frame(entry));
      if (!index) {
        ++set_.stray_entries;
        if (set_.strays.size() < kMostStrays)
          set_.strays.push_back({pfn, static_cast<unsigned>(slot), entry});
      } else if (const auto child = child_of(kind, slot)) {
        walk(pages_.pfn_at(*index), *child, kernel || is_kernels(kind, slot));
      } else if (kernel && (entry & kWritable) == 0 && !seen_[*index]) {
        seen_[*index] = true;
        candidates_.push_back(static_cast<std::uint32_t>(*index));
      }
    }
  }

  std::vector<Pfn> known_roots() {
    if (search_.roots.empty() && search_.old_roots.empty()) return roots_in_memory();
    std::vector<Pfn> roots = search_.roots;
    for (const Pfn pfn : search_.old_roots) {
      if (search_.width == 4 || is_root(pfn)) roots.push_back(pfn);
    }
    return roots;
  }

  /// Roots of a 64-bit guest that map themselves, read-only: one that was freed, and may lead to
  /// what are no tables any more, is mapped for writing.
  std::vector<Pfn> roots_in_memory() {
    std::vector<Pfn> roots;
    if (search_.width == 4) return roots;
    for (std::size_t i = 0; i < pages_.size(); ++i) {
      const Pfn pfn = pages_.pfn_at(i);
      if (is_root(pfn) && is_mapped_read_only(pfn, pfn)) roots.push_back(pfn);
    }
    return roots;
  }

  /// What the direct map of `root` says of page `pfn`.
  bool is_mapped_read_only(Pfn root, Pfn pfn) {
    for (const std::size_t slot : kDirectMapSlots) {
      Pfn table_pfn = root;
      for (unsigned shift = 27;; shift -= 9) {
        Table table;
        if (!read(table_pfn, table)) break;
        const std::size_t index = ((pfn.value >> shift) & (kSlots - 1)) + (shift == 27 ? slot : 0);
        if (index >= kSlots || (table[index] & kPresent) == 0) break;
        const auto next = m2p_.find(frame(table[index]));
        if (!next) break;
        if (shift == 0) {
          if (*next == pfn && (table[index] & kWritable) == 0) return true;
          break;
        }
        table_pfn = *next;
      }
    }
    return false;
  }

  bool is_misnamed(Pfn root) {
    Table table;
    if (search_.width == 4 || !read(root, table)) return false;
    const std::uint64_t self = table[kSelfSlot];
    return (self & kPresent) != 0 && m2p_.find(frame(self)) != root;
  }

  bool is_root(Pfn pfn) {
    if (search_.width == 4) return is_narrow_root(pfn);
    Table table;
    if (!read(pfn, table)) return false;
    const std::uint64_t self = table[kSelfSlot];
    return (self & kPresent) != 0 && m2p_.find(frame(self)) == pfn;
  }

  /// The L3 of a 32-bit guest tells nothing of itself. One that is in use has four entries, the
  /// last of which leads to a table that maps the kernel as that of a known root does.
  bool is_narrow_root(Pfn pfn) {
    Table table;
    if (!read(pfn, table)) return false;
    for (std::size_t slot = 0; slot < kNarrowEntries; ++slot) {
      if ((table[slot] & kPresent) == 0 || !m2p_.find(frame(table[slot]))) return false;
    }
    const auto kernel = kernel_entry_of(pfn);
    return kernel && std::binary_search(kernel_entries_.begin(), kernel_entries_.end(), *kernel);
  }

  /// Of a 32-bit guest's root: what maps the first 2 MiB of the kernel's gigabyte.
  std::optional<std::uint64_t> kernel_entry_of(Pfn root) {
    Table table;
    if (search_.width != 4 || !read(root, table)) return std::nullopt;
    const auto l2 = m2p_.find(frame(table[kNarrowKernel]));
    if (!l2 || !read(*l2, table) || (table[0] & kPresent) == 0) return std::nullopt;
    return table[0];
  }

  const XenTableSearch& search_;
  const XenM2p& pages_;
  XenM2p::Lookup m2p_;
  XenTableSet set_;
  std::vector<bool> seen_;                     ///< by index in the M2P
  std::vector<std::uint32_t> candidates_;      ///< indices: mapped read-only, yet to be looked at
  std::vector<std::uint64_t> kernel_entries_;  ///< of the known roots
};

}  // namespace

XenTableSet find_xen_tables(const XenM2p& m2p, const XenTableSearch& search) {
  return Finder(m2p, search).run();
}

void resolve_xen_entries(XenM2p::Lookup& m2p, XenTableKind kind, std::size_t first,
                         std::span<std::byte> entries) {
  constexpr std::size_t kSize = sizeof(std::uint64_t);
  for (std::size_t i = 0; (i + 1) * kSize <= entries.size(); ++i) {
    const auto bytes = entries.subspan(i * kSize, kSize);
    const auto entry = load<std::uint64_t>(bytes, std::endian::little);
    le64 result = entry;
    if (is_slot_of_xen(kind, first + i)) {
      result = std::uint64_t{0};
    } else if ((entry & kPresent) != 0) {
      const auto pfn = is_large(kind, entry) ? std::nullopt : m2p.find(frame(entry));
      result = pfn ? (entry & ~kFrameMask) | pfn->value << kPageShift : std::uint64_t{0};
    }
    const auto replaced = std::as_bytes(std::span(&result, 1));
    std::copy(replaced.begin(), replaced.end(), bytes.begin());
  }
}

}  // namespace vmconvert
