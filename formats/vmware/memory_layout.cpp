#include "vmware/memory_layout.h"

#include <algorithm>

#include "vmconvert/base/text.h"
#include "vmconvert/model/lost_memory.h"
#include "vmconvert/model/plain_memory.h"

namespace vmconvert::vmware {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kMostPages = std::uint64_t{1} << 40;  // 52 bits of address
constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;
// Seen in every real state of more than 3 GiB; LeechCore does the same without a state.
constexpr std::uint64_t kGapBegin = 3 * kGiB, kGapEnd = 4 * kGiB;
// Fusion on Apple silicon; LeechCore.
constexpr std::uint64_t kArmRam = 2 * kGiB;

bool fits(const Region& region) {
  return region.page_count <= kMostPages && region.ppn <= kMostPages - region.page_count &&
         region.page_num <= kMostPages - region.page_count;
}

std::string describe(const Region& region) {
  return "region " + std::to_string(region.index) + " (" + counted(region.page_count, "page") +
         " from page " + hex(region.ppn) + ")";
}

/// Where the gap begins, for `size` bytes of RAM of a PC.
std::uint64_t gap_begin(std::uint64_t size, const LayoutFacts& facts) {
  if (!facts.below_4g) return kGapBegin;
  if (*facts.below_4g == 0 || *facts.below_4g % kPage != 0 ||
      *facts.below_4g > std::min(size, kGapEnd)) {
    throw Error(ErrorKind::usage, facts.file, std::nullopt,
                "--below-4g " + human_size(*facts.below_4g) + " is impossible with " +
                    human_size(size) + " of RAM");
  }
  return *facts.below_4g;
}

}  // namespace

std::vector<Placement> place_regions(const std::vector<Region>& regions, const std::string& file,
                                     bool salvage, Diagnostics& diagnostics) {
  const auto lose = [&](const Region& region, const std::string& why) {
    const Error error(ErrorKind::corrupt, file, std::nullopt, describe(region) + ' ' + why);
    if (!salvage) throw error;
    diagnostics.loss("", std::nullopt, std::string(error.what()) + "; it is left out");
  };
  std::vector<Region> sorted;
  for (const Region& region : regions) {
    if (fits(region)) {
      sorted.push_back(region);
    } else {
      lose(region, "lies beyond all addresses");
    }
  }
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const Region& a, const Region& b) { return a.ppn < b.ppn; });
  std::vector<Placement> placements;
  for (const Region& region : sorted) {
    const auto guest = GuestRange::sized({region.ppn * kPage}, region.page_count * kPage);
    if (!placements.empty() && guest.begin() < placements.back().guest.end()) {
      lose(region, "overlaps the one before it");
      continue;
    }
    placements.push_back({guest, region.page_num * kPage});
  }
  return placements;
}

std::vector<Placement> place_by_rule(std::uint64_t size, const LayoutFacts& facts,
                                     Diagnostics& diagnostics) {
  if (size == 0) return {};
  if (size > kMostPages * kPage / 2) {
    throw Error(ErrorKind::corrupt, facts.file, std::nullopt,
                "memory of " + std::to_string(size) + " bytes is more than there can be");
  }
  size = align_up(size, kPage);
  if (facts.arm) {
    if (facts.below_4g)
      throw Error(ErrorKind::usage, facts.file, std::nullopt, "--below-4g is for x86 PCs");
    diagnostics.decision(facts.file, human_size(size) + " of RAM from " + hex(kArmRam) +
                                         " on, as ARM guests have it");
    return {{GuestRange::sized({kArmRam}, size), 0}};
  }
  const std::uint64_t low = std::min(size, gap_begin(size, facts));
  std::vector<Placement> placements{{GuestRange::sized({0}, low), 0}};
  std::string text = human_size(low) + " of RAM from address 0 on";
  if (size > low) {
    placements.push_back({GuestRange::sized({kGapEnd}, size - low), low});
    text += " and " + human_size(size - low) + " from " + hex(kGapEnd) + " on";
  }
  if (facts.below_4g) {
    diagnostics.decision(facts.file, text + ", by --below-4g");
  } else if (!facts.known_machine) {
    diagnostics.warn(facts.file, "nothing tells where memory lies: " + text +
                                     " is a guess (name the saved state with --state)");
  } else if (size > low) {
    diagnostics.warn(facts.file, "the state has no regions of memory: " + text +
                                     " is a guess (--below-4g moves the gap)");
  } else {
    diagnostics.decision(facts.file, text + "; the state has no regions of memory");
  }
  return placements;
}

RunList map_placements(const std::vector<Placement>& placements, const MemoryImage& image,
                       SourceId id, bool salvage, Diagnostics& diagnostics) {
  RunListBuilder runs(kPage);
  LostMemory lost;
  const std::string why =
      image.why.empty()
          ? image.source->name() + ": the memory is cut off after " + human_size(image.size)
          : image.why;
  for (const Placement& placement : placements) {
    const FileRange wanted = FileRange::sized({placement.at}, placement.guest.size());
    const auto guest_part = [&](FileOffset begin, FileOffset end) {
      return GuestRange::sized(placement.guest.begin() + (begin - wanted.begin()), end - begin);
    };
    FileOffset here = wanted.begin();
    auto sound =
        std::partition_point(image.sound.begin(), image.sound.end(),
                             [&](const FileRange& range) { return range.end() <= wanted.begin(); });
    for (; sound != image.sound.end() && sound->begin() < wanted.end(); ++sound) {
      const FileRange part = sound->intersection(wanted);
      lost.add(guest_part(here, part.begin()), why);
      add_plain_memory(runs, guest_part(part.begin(), part.end()), id, *image.source,
                       image.begin + part.begin().value);
      here = part.end();
    }
    lost.add(guest_part(here, wanted.end()), why);
  }
  if (!lost.empty() && !salvage) {
    throw Error(ErrorKind::corrupt, "", std::nullopt,
                why + ", more is described (--salvage converts what is there)");
  }
  lost.report(diagnostics);
  return runs.finish();
}

}  // namespace vmconvert::vmware
