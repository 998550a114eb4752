#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string_view>
#include <vector>

#include "vmconvert/model/xen_m2p.h"

namespace vmconvert {

/// What a frame of page tables is; docs/formats/xen.md, "Page tables".
enum class XenTableKind : std::uint8_t {
  l1,
  l2,
  l3,
  l4,         ///< slots 256 to 271 belong to Xen
  narrow_l2,  ///< of a 32-bit guest, for the upper gigabyte: from slot 428 on it belongs to Xen
  narrow_l3,  ///< of a 32-bit guest: 4 entries, the rest of the page belongs to Xen
};

/// True for slots whose entries are Xen's, not the guest's.
bool is_slot_of_xen(XenTableKind kind, std::size_t slot);

/// As people call it: "L4".
std::string_view table_kind_name(XenTableKind kind);

/// An entry that no frame of the guest fits: it maps what is not the guest's own.
struct XenStrayEntry {
  Pfn table;
  unsigned slot = 0;
  std::uint64_t value = 0;
};

/// The page tables that are in use.
struct XenTableSet {
  std::map<Pfn, XenTableKind> tables;
  std::uint64_t roots = 0;  ///< of them, address spaces
  /// Roots that were given, and have a machine frame other than their own where each has its own:
  /// then the M2P is not that of these tables.
  std::uint64_t misnamed_roots = 0;
  std::uint64_t entries = 0;          ///< present ones, but for those of Xen
  std::uint64_t stray_entries = 0;    ///< of them, those that no frame of the guest fits
  std::vector<XenStrayEntry> strays;  ///< the first few
  std::uint64_t conflicts = 0;  ///< frames that are used as tables of two kinds: the first counts
};

/// What page tables are looked for in.
struct XenTableSearch {
  unsigned width = 8;  ///< bytes of the guest's words
  /// Fills `out` (4096 bytes) with a page; false if the guest has no such page.
  std::function<bool(Pfn, std::span<std::byte>)> read;
  std::vector<Pfn> roots;  ///< those that are known: what CR3s say
  /// What CR3s of vCPUs say that are offline: taken for roots only if they name themselves.
  std::vector<Pfn> old_roots;
  // If there are neither, all of memory is searched.
};

/// Finds page tables, which hold machine frames, by walking down from the roots. Roots of other
/// address spaces are found on the way: a PV guest maps its page tables read-only, and an L4 in use
/// has its own frame in slot 258.
/// @throws what `read` throws
XenTableSet find_xen_tables(const XenM2p& m2p, const XenTableSearch& search);

/// Translates entries of a table in place: machine frames of present ones become pfns; those of
/// Xen, and those that no frame of the guest fits, become 0. `first` is the number of the first
/// slot.
void resolve_xen_entries(XenM2p::Lookup& m2p, XenTableKind kind, std::size_t first,
                         std::span<std::byte> entries);

}  // namespace vmconvert
