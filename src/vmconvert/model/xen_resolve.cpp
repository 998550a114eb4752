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

void replace_sources(const XenTableSet& set, const std::shared_ptr<const XenM2p>& m2p,
                     GuestImage& image) {
  const std::size_t count = image.sources.size();
  std::vector<std::vector<TablePlace>> places(count);
  for (const auto& [pfn, kind] : set.tables) {
    if (const auto place = place_of(image, {pfn.value << kPageShift}))
      places[place->source].push_back({place->at.value, kind});
  }
  std::vector<SourceId> replacement(count);
  for (std::size_t i = 0; i < count; ++i) {
    replacement[i] = static_cast<SourceId>(i);
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
    image.sources.push_back(
        std::make_shared<ResolvedSource>(image.sources[i], std::move(places[i]), m2p));
  }
  image.runs = with_sources(image.runs, replacement);
  if (image.xen->p2m) image.xen->p2m->source = replacement[image.xen->p2m->source];
}

std::uint64_t resolved_root(std::uint64_t mfn, XenM2p::Lookup& lookup) {
  const auto pfn = lookup.find({mfn});
  return mfn != 0 && pfn ? pfn->value : 0;
}

void resolve_registers(XenM2p::Lookup& lookup, GuestImage& image) {
  for (std::size_t i = 0; i < image.xen->vcpus.size(); ++i) {
    XenVcpu& vcpu = image.xen->vcpus[i];
    vcpu.root = resolved_root(vcpu.root, lookup);
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
  if (m2p.duplicates() != 0) {
    diagnostics.warn(file, counted(m2p.duplicates(), "machine frame") +
                               " with two pages each; the lower pfn counts");
  }
  if (set.conflicts != 0) {
    diagnostics.warn(file, counted(set.conflicts, "page") +
                               " in use as page tables of two levels; the first found counts");
  }
  if (set.stray_entries == 0) return;
  std::string text = std::to_string(set.stray_entries) +
                     " page-table entries lead out of the guest and are cleared:";
  for (const XenStrayEntry& stray : set.strays) {
    text +=
        ' ' + hex(stray.table.value) + '[' + std::to_string(stray.slot) + "]=" + hex(stray.value);
  }
  if (set.stray_entries > set.strays.size()) text += " ...";
  diagnostics.decision(file, text);
}

}  // namespace

std::shared_ptr<const XenM2p> m2p_of(const GuestImage& image) {
  auto m2p = std::make_shared<XenM2p>();
  m2p->reserve(image.xen->p2m->count);
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
  for (const XenVcpu& vcpu : image.xen->vcpus) {
    for (const std::uint64_t root : {vcpu.root, vcpu.user_root}) {
      const auto pfn = lookup.find({root});
      if (root != 0 && pfn) search.roots.push_back(*pfn);
    }
  }
  search.read = [&](Pfn pfn, std::span<std::byte> out) {
    return read_guest(image, {pfn.value << kPageShift}, out);
  };
  const XenTableSet set = find_xen_tables(*m2p, search);
  const std::string way_out = "; --xen-layout asis leaves them as they are";
  if (set.tables.empty()) {
    throw Error(ErrorKind::unsupported, file, std::nullopt,
                "no page table of this PV guest can be found" + way_out);
  }
  if (set.stray_entries * 100 > set.entries * kMostStrayPercent) {
    throw Error(
        ErrorKind::unsupported, file, std::nullopt,
        std::to_string(set.stray_entries) + " of " + std::to_string(set.entries) +
            " page-table entries lead out of the guest: its page tables do not fit its p2m" +
            way_out);
  }
  replace_sources(set, m2p, image);
  resolve_registers(lookup, image);
  image.xen->tables = XenTables::pseudo_physical;
  report(file, *m2p, set, diagnostics);
  auto& facts = image.metadata.facts;
  facts.push_back({"xen.tables-translated", std::to_string(set.tables.size())});
  facts.push_back({"xen.entries-translated", std::to_string(set.entries - set.stray_entries)});
  facts.push_back({"xen.entries-cleared", std::to_string(set.stray_entries)});
}

}  // namespace vmconvert
