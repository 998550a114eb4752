#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "vmconvert/base/address.h"
#include "vmconvert/model/metadata.h"
#include "vmconvert/model/run_list.h"

namespace vmconvert {

struct GuestImage;

/// A number that counts page frames; frames of different spaces do not mix.
template <class Tag>
struct FrameNumber {
  std::uint64_t value = 0;
  friend constexpr auto operator<=>(FrameNumber, FrameNumber) = default;
};
using Pfn = FrameNumber<struct PfnTag>;  ///< of the guest's pseudo-physical space: gpa >> 12
using Mfn = FrameNumber<struct MfnTag>;  ///< of the machine, as page tables of PV guests hold it

/// Frames that follow each other both among the guest's and among those of another space.
struct FrameStretch {
  std::uint64_t pfn = 0, frame = 0, count = 0;
  friend bool operator==(const FrameStretch&, const FrameStretch&) = default;
};

/// How page tables of an image were translated; xen_resolve.h.
struct XenTranslation;

/// Guests of Xen. PV ones see machine frames in their page tables; the others are as on a PC.
enum class XenGuestType {
  pv,
  hvm,  ///< HVM or PVH; the containers call both so
  arm,
};

/// What the present entries of a PV guest's page tables hold, and its CR3s.
enum class XenTables {
  pseudo_physical,  ///< pfns: a save stream, whose writer translated them, or no PV guest at all
  machine,          ///< mfns: a dump-core
};

/// Where a container keeps which machine frame a page of it is: the p2m, read when it is asked for.
/// The page whose bytes lie in source `source` at `pages + i * 4096` is machine frame number i of
/// the table, little-endian, at `entries + i * stride`.
struct XenP2mTable {
  SourceId source = 0;
  FileOffset pages, entries;
  std::uint64_t count = 0;   ///< entries; all of them lie within the source
  std::uint32_t stride = 0;  ///< bytes from one entry to the next
  std::uint32_t width = 8;   ///< bytes of a machine frame number, 4 or 8
};

/// What the registers of a PV vCPU tell besides GuestImage::vcpus, which has the same order.
struct XenVcpu {
  /// Frames of the page-table roots, in the space that XenFacts::tables says; 0: none. A 64-bit
  /// guest has one for the kernel (CR3) and one for user mode, that of a 32-bit guest is its L3.
  std::uint64_t root = 0, user_root = 0;
  bool online = true;      ///< false: the guest took it down; its registers are those of then
  bool in_kernel = false;  ///< which the selectors of a PV guest do not tell
};

/// What is known of a guest of Xen beyond what any guest has.
struct XenFacts {
  XenGuestType type = XenGuestType::hvm;
  std::uint64_t major = 0, minor = 0;  ///< version of Xen; 0 if the container does not tell
  unsigned width = 8;                  ///< bytes of the guest's words: 8, or 4 for 32-bit PAE
  XenTables tables = XenTables::pseudo_physical;
  /// Of a PV guest in a dump-core. Absent from save streams: what p2m lists they hold are the
  /// guest's own, and of the host that it was saved on.
  std::optional<XenP2mTable> p2m;
  /// The page that Xen shares with the guest; its layout is in docs/formats/xen.md.
  std::optional<SourceBytes> shared_info;
  std::vector<XenVcpu> vcpus;  ///< of PV guests
  /// If page tables are machine in the container, and are not any more.
  std::shared_ptr<const XenTranslation> translation;
  /// By pfn, disjoint: the machine frames that outputs are to have as physical addresses. Empty:
  /// pfns, as everywhere else.
  std::vector<FrameStretch> machine_layout;
};

/// Calls `visit` for each page of guest memory that the table has a machine frame of, in ascending
/// order of pfns. Entries of all ones are no frame.
/// @throws Error(io) as the source does
void for_each_machine_frame(const GuestImage& image, const XenP2mTable& table,
                            const std::function<void(Pfn, Mfn)>& visit);

}  // namespace vmconvert
