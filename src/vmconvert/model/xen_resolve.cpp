#include "vmconvert/model/xen_resolve.h"

#include <algorithm>
#include <utility>

#include "vmconvert/base/text.h"

namespace vmconvert {
namespace {

constexpr std::uint64_t kPage = 4096, kPageShift = 12, kEntry = 8;
// A few entries are of frames that are not the guest's own: the page shared with Xen, grant tables.
// A capture of a guest that was not paused may have some more.
constexpr std::uint64_t kMostStrayPercent = 1;
// Where the container itself says which page is which, a small guest that maps all frames of its
// grant table, of which Xen gives 64 at most unless told otherwise, is one as well.
constexpr std::uint64_t kMostStraysOfSmall = 80, kMostStrayPercentOfSmall = 10;

/// A page table in a source.
struct TablePlace {
  std::uint64_t at = 0;
  XenTableKind kind{};
};

/// A source in which page tables appear translated.
class ResolvedSource final : public ByteSource {
 public:
  /// @param tables  by place, which do not overlap
  ResolvedSource(std::shared_ptr<const ByteSource> source, std::vector<TablePlace> tables,
                 std::shared_ptr<const XenM2p> m2p)
      : source_(std::move(source)), tables_(std::move(tables)), m2p_(std::move(m2p)) {}

  const std::string& name() const override { return source_->name(); }
  std::uint64_t size() const override { return source_->size(); }
  FileRange next_data(FileOffset at) const override { return source_->next_data(at); }

  void read_at(FileOffset at, std::span<std::byte> out) const override {
    source_->read_at(at, out);
    const FileRange read = FileRange::sized(at, out.size());
    auto table = std::partition_point(tables_.begin(), tables_.end(), [&](const TablePlace& place) {
      return place.at + kPage <= at.value;
    });
    XenM2p::Lookup lookup(*m2p_);
    for (; table != tables_.end() && table->at < read.end().value; ++table)
      translate(*table, read, lookup, out);
  }

 private:
  void translate(const TablePlace& table, FileRange read, XenM2p::Lookup& lookup,
                 std::span<std::byte> out) const {
    const FileRange wanted = FileRange::sized({table.at}, kPage).intersection(read);
    const auto target = out.subspan(static_cast<std::size_t>(wanted.begin() - read.begin()),
                                    static_cast<std::size_t>(wanted.size()));
    const std::uint64_t begin = wanted.begin().value - table.at,
                        end = wanted.end().value - table.at;
    if (begin % kEntry == 0 && end % kEntry == 0) {
      resolve_xen_entries(lookup, table.kind, static_cast<std::size_t>(begin / kEntry), target);
      return;
    }
    // An entry was read in part: translate all of it.
    const std::uint64_t first = begin / kEntry, last = (end + kEntry - 1) / kEntry;
    std::vector<std::byte> entries(static_cast<std::size_t>((last - first) * kEntry));
    source_->read_at({table.at + first * kEntry}, entries);
    resolve_xen_entries(lookup, table.kind, static_cast<std::size_t>(first), entries);
    std::copy_n(entries.begin() + static_cast<std::ptrdiff_t>(begin - first * kEntry),
                target.size(), target.begin());
  }

  std::shared_ptr<const ByteSource> source_;
  std::vector<TablePlace> tables_;
  std::shared_ptr<const XenM2p> m2p_;
};

/// Where the page that begins at `gpa` lies; nothing if it is not whole in one run of a source.
std::optional<InFile> place_of(const GuestImage& image, GuestPhysAddr gpa) {
  std::optional<InFile> place;
  image.runs.for_each_in(GuestRange::sized(gpa, kPage), [&](const Run& run) {
    const auto* file = std::get_if<InFile>(&run.backing);
    if (file != nullptr && run.guest.size() == kPage) place = *file;
  });
  return place;
}

/// The same runs with sources replaced.
RunList with_sources(const RunList& runs, const std::vector<SourceId>& replacement) {
  RunListBuilder builder(runs.page_size());
  for (Run run : runs) {
    if (auto* file = std::get_if<InFile>(&run.backing)) file->source = replacement[file->source];
    builder.add(run);
  }
  return builder.finish();
}

/// @returns of each source of the image, what it was made from
std::vector<SourceId> replace_sources(const XenTableSet& set,
                                      const std::shared_ptr<const XenM2p>& m2p, GuestImage& image) {
  const std::size_t count = image.sources.size();
  std::vector<std::vector<TablePlace>> places(count);
  for (const auto& [pfn, kind] : set.tables) {
    if (const auto place = place_of(image, {pfn.value << kPageShift}))
      places[place->source].push_back({place->at.value, kind});
  }
  std::vector<SourceId> replacement(count), originals(count);
  for (std::size_t i = 0; i < count; ++i) {
    replacement[i] = originals[i] = static_cast<SourceId>(i);
    if (places[i].empty()) continue;
    std::sort(places[i].begin(), places[i].end(),
              [](const TablePlace& a, const TablePlace& b) { return a.at < b.at; });
    // Of places that overlap, in a file that was made so, the first counts.
    std::uint64_t end = 0;
    std::erase_if(places[i], [&](const TablePlace& place) {
      if (place.at < end) return true;
      end = place.at + kPage;
      return false;
    });
    replacement[i] = static_cast<SourceId>(image.sources.size());
    originals.push_back(static_cast<SourceId>(i));
    image.sources.push_back(
        std::make_shared<ResolvedSource>(image.sources[i], std::move(places[i]), m2p));
  }
  image.runs = with_sources(image.runs, replacement);
  if (image.xen->p2m) image.xen->p2m->source = replacement[image.xen->p2m->source];
  return originals;
}

std::uint64_t resolved_root(std::uint64_t mfn, XenM2p::Lookup& lookup) {
  const auto pfn = lookup.find({mfn});
  return mfn != 0 && pfn ? pfn->value : 0;
}

void resolve_registers(const std::string& file, XenM2p::Lookup& lookup, GuestImage& image,
                       Diagnostics& diagnostics) {
  for (std::size_t i = 0; i < image.xen->vcpus.size(); ++i) {
    XenVcpu& vcpu = image.xen->vcpus[i];
    const std::uint64_t machine = std::exchange(vcpu.root, resolved_root(vcpu.root, lookup));
    if (machine != 0 && vcpu.root == 0) {
      diagnostics.warn(file, "CR3 of vCPU " + std::to_string(i) + ", machine frame " +
                                 hex(machine) + ", is no page of the guest, and becomes 0");
    }
    vcpu.user_root = resolved_root(vcpu.user_root, lookup);
    if (i >= image.vcpus.size()) continue;
    if (auto* registers = std::get_if<X86Registers>(&image.vcpus[i]))
      registers->cr3 = vcpu.root << kPageShift;
  }
}

void report(const std::string& file, const XenM2p& m2p, const XenTableSet& set,
            Diagnostics& diagnostics) {
  diagnostics.decision(file, counted(set.tables.size(), "page table") + " of " +
                                 counted(set.roots, "address space") +
                                 " translated from machine frames, " + std::to_string(set.entries) +
                                 " entries");
  if (set.stray_entries != 0 && diagnostics.wants(Diagnostics::Level::decision)) {
    std::string text = std::to_string(set.stray_entries) +
                       " page-table entries lead out of the guest and are cleared:";
    for (const XenStrayEntry& stray : set.strays) {
      text +=
          ' ' + hex(stray.table.value) + '[' + std::to_string(stray.slot) + "]=" + hex(stray.value);
    }
    if (set.stray_entries > set.strays.size()) text += " ...";
    diagnostics.decision(file, text);
  }
  if (m2p.duplicates() != 0) {
    diagnostics.warn(file, counted(m2p.duplicates(), "machine frame") +
                               " with two pages each; the lower pfn counts");
  }
  if (set.conflicts != 0) {
    diagnostics.warn(file, counted(set.conflicts, "page") +
                               " in use as page tables of two levels; the first found counts");
  }
}

/// Nothing is guessed: tables that do not fit the M2P are none.
void check(const std::string& file, const XenTableSet& set, bool has_p2m) {
  const auto fail = [&](const std::string& why) {
    throw Error(ErrorKind::unsupported, file, std::nullopt,
                why + "; --xen-layout asis leaves them as they are");
  };
  if (set.tables.empty()) fail("no page table of this PV guest can be found");
  if (set.misnamed_roots != 0) {
    fail(
        "a page-table root of this PV guest names another frame as its own: its page tables do "
        "not fit its p2m");
  }
  const std::uint64_t percent = has_p2m && set.stray_entries <= kMostStraysOfSmall
                                    ? kMostStrayPercentOfSmall
                                    : kMostStrayPercent;
  if (set.stray_entries * 100 > set.entries * percent) {
    fail(std::to_string(set.stray_entries) + " of " + std::to_string(set.entries) +
         " page-table entries lead out of the guest: its page tables do not fit its p2m");
  }
}

/// The stretches by pfn in which all pages of the guest have a machine frame of their own.
std::vector<FrameStretch> machine_stretches(const XenM2p& m2p, const RunList& runs) {
  std::vector<FrameStretch> found;
  for (std::size_t i = 0; i < m2p.size(); ++i) {
    const std::uint64_t pfn = m2p.pfn_at(i).value, mfn = m2p.mfn_at(i).value;
    if (!found.empty() && found.back().pfn + found.back().count == pfn &&
        found.back().frame + found.back().count == mfn) {
      ++found.back().count;
    } else {
      found.push_back({pfn, mfn, 1});
    }
  }
  std::sort(found.begin(), found.end(),
            [](const FrameStretch& a, const FrameStretch& b) { return a.pfn < b.pfn; });
  std::vector<FrameStretch> stretches;
  const std::vector<GuestRange> extents = runs.extents();
  auto extent = extents.begin();
  for (const FrameStretch& whole : found) {
    const auto range = GuestRange::sized({whole.pfn << kPageShift}, whole.count << kPageShift);
    while (extent != extents.end() && extent->end() <= range.begin()) ++extent;
    for (auto part = extent; part != extents.end() && part->begin() < range.end(); ++part) {
      const GuestRange common = part->intersection(range);
      const std::uint64_t pfn = common.begin().value >> kPageShift;
      const std::uint64_t count = common.size() >> kPageShift;  // the last page may not be whole
      if (count != 0) stretches.push_back({pfn, whole.frame + (pfn - whole.pfn), count});
    }
  }
  return stretches;
}

}  // namespace

RunList untranslated_runs(const GuestImage& image) {
  return with_sources(image.runs, image.xen->translation->originals);
}

void use_machine_layout(const std::string& file, GuestImage& image, Diagnostics& diagnostics) {
  if (!image.xen || !image.xen->translation) {
    throw Error(ErrorKind::usage, file, std::nullopt,
                "holds no page tables with machine frames, which --xen-layout machine is for");
  }
  XenFacts& xen = *image.xen;
  xen.machine_layout = machine_stretches(*xen.translation->m2p, image.runs);
  std::uint64_t pages = 0;
  for (const FrameStretch& stretch : xen.machine_layout) pages += stretch.count;
  const std::uint64_t all = image.runs.total_bytes() >> kPageShift;
  if (pages < all) {
    diagnostics.warn(file, "left out, without a machine frame or with that of another page: " +
                               counted(all - pages, "page"));
  }
  image.runs = untranslated_runs(image);
  for (std::size_t i = 0; i < std::min(xen.vcpus.size(), image.vcpus.size()); ++i) {
    xen.vcpus[i].root = xen.translation->roots[i];
    if (auto* registers = std::get_if<X86Registers>(&image.vcpus[i]))
      registers->cr3 = xen.vcpus[i].root << kPageShift;
  }
  xen.tables = XenTables::machine;
}

std::shared_ptr<const XenM2p> m2p_of(const GuestImage& image) {
  auto m2p = std::make_shared<XenM2p>();
  m2p->reserve(std::min(image.xen->p2m->count, image.runs.total_bytes() >> kPageShift));
  for_each_machine_frame(image, image.xen->p2m.value(),
                         [&](Pfn pfn, Mfn mfn) { m2p->add(pfn, mfn); });
  m2p->finish();
  return m2p;
}

void resolve_xen_tables(const std::string& file, std::shared_ptr<const XenM2p> m2p,
                        const std::vector<Pfn>& roots, GuestImage& image,
                        Diagnostics& diagnostics) {
  XenM2p::Lookup lookup(*m2p);
  XenTableSearch search{.width = image.xen->width, .roots = roots};
  bool has_roots = !roots.empty();
  for (const XenVcpu& vcpu : image.xen->vcpus) {
    for (const std::uint64_t root : {vcpu.root, vcpu.user_root}) {
      if (root == 0) continue;
      has_roots = true;
      const auto pfn = lookup.find({root});
      if (pfn) (vcpu.online ? search.roots : search.old_roots).push_back(*pfn);
    }
  }
  search.read = [&](Pfn pfn, std::span<std::byte> out) {
    return read_guest(image, {pfn.value << kPageShift}, out);
  };
  // Only where nothing names a root is one looked for.
  XenTableSet set;
  if (!has_roots || !search.roots.empty() || !search.old_roots.empty())
    set = find_xen_tables(*m2p, search);
  check(file, set, image.xen->p2m.has_value());
  auto translation = std::make_shared<XenTranslation>();
  translation->m2p = m2p;
  for (const auto& [pfn, kind] : set.tables) translation->tables.push_back({pfn, kind});
  for (const XenVcpu& vcpu : image.xen->vcpus) translation->roots.push_back(vcpu.root);
  translation->originals = replace_sources(set, m2p, image);
  resolve_registers(file, lookup, image, diagnostics);
  image.xen->tables = XenTables::pseudo_physical;
  image.xen->translation = std::move(translation);
  report(file, *m2p, set, diagnostics);
  auto& facts = image.metadata.facts;
  facts.push_back({"xen.tables-translated", std::to_string(set.tables.size())});
  facts.push_back({"xen.entries-translated", std::to_string(set.entries - set.stray_entries)});
  facts.push_back({"xen.entries-cleared", std::to_string(set.stray_entries)});
}

}  // namespace vmconvert
