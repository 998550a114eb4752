#pragma once

#include "vmconvert/base/diagnostics.h"
#include "vmconvert/model/guest_image.h"
#include "vmconvert/model/xen_tables.h"

namespace vmconvert {

/// How page tables of an image were translated, and the way back.
struct XenTranslation {
  std::shared_ptr<const XenM2p> m2p;
  struct Table {
    Pfn pfn;
    XenTableKind kind{};
  };
  std::vector<Table> tables;         ///< by pfn
  std::vector<SourceId> originals;   ///< of each source of the image, what it was made from
  std::vector<std::uint64_t> roots;  ///< CR3 of each vCPU, in machine frames
};

/// Makes the page tables of a PV guest hold pfns instead of machine frames, as everything that
/// reads the image expects: page tables are found, and translated whenever they are read; the CR3s
/// of its vCPUs, too. What was found is told in `diagnostics` and in the image's facts.
/// @param file   name of the input, for messages
/// @param roots  page-table roots besides those in CR3s
/// @throws Error(unsupported) if page tables cannot be found, or do not fit the M2P: nothing is
/// guessed
void resolve_xen_tables(const std::string& file, std::shared_ptr<const XenM2p> m2p,
                        const std::vector<Pfn>& roots, GuestImage& image, Diagnostics& diagnostics);

/// Guest memory of an image whose page tables were translated, as it was before.
/// `image.xen->translation` must be there.
RunList untranslated_runs(const GuestImage& image);

/// Lays memory out by machine frames, page tables and CR3s as they were before
/// resolve_xen_tables(): sets XenFacts::machine_layout. Pages without a machine frame of their own
/// are left out, and told.
/// @throws Error(usage) if there are no page tables that were translated
void use_machine_layout(const std::string& file, GuestImage& image, Diagnostics& diagnostics);

/// The M2P of the p2m table that the image's container has; image.xen->p2m must be there.
/// @throws Error(io) as the source does
std::shared_ptr<const XenM2p> m2p_of(const GuestImage& image);

}  // namespace vmconvert
