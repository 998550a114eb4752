#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "vmconvert/base/address.h"

namespace vmconvert {

/// Index into GuestImage::sources.
using SourceId = std::uint32_t;

/// Page i of a run lies at `at + i * stride` of a source. A stride equal to the page size is plain
/// contiguous data; streams that put a header before each page have a larger one.
struct InFile {
  SourceId source = 0;
  std::uint32_t stride = 0;  ///< bytes, at least the page size
  FileOffset at;
  friend bool operator==(const InFile&, const InFile&) = default;
};

/// Every byte of the run is `value`.
struct Filled {
  std::byte value{};
  friend bool operator==(Filled, Filled) = default;
};

/// Memory that is contiguous in the guest and in its backing.
struct Run {
  GuestRange guest;
  std::variant<InFile, Filled> backing;
  friend bool operator==(const Run&, const Run&) = default;
};
// There can be one per page in the worst case: 10 MiB per GiB of guest.
static_assert(sizeof(Run) <= 40);

/// The guest's memory: runs that are sorted, disjoint, non-empty and coalesced. Immutable.
class RunList {
 public:
  explicit RunList(std::uint32_t page_size) : page_size_(page_size) {}

  std::uint32_t page_size() const { return page_size_; }
  bool empty() const { return runs_.empty(); }
  std::span<const Run> runs() const { return runs_; }
  auto begin() const { return runs_.begin(); }
  auto end() const { return runs_.end(); }

  /// Maximal ranges without a gap, whatever backs them: what PT_LOADs and LiME records are made of.
  std::vector<GuestRange> extents() const;
  /// Sum of the sizes of all runs.
  std::uint64_t total_bytes() const;
  /// The part of the list within `range`, cut at its borders, in order; `visit` gets each Run.
  template <class Visit>
  void for_each_in(GuestRange range, const Visit& visit) const {
    for (auto run = first_after(range.begin()); run != runs_.end(); ++run) {
      const GuestRange part = run->guest.intersection(range);
      if (part.empty()) break;
      for (GuestPhysAddr at = part.begin(); at < part.end();) {
        const GuestRange piece = GuestRange::between(at, cut(*run, at, part.end()));
        visit(slice(*run, piece));
        at = piece.end();
      }
    }
  }
  /// Throws std::logic_error if the promise of this class is broken. For tests.
  void check_invariants() const;

 private:
  friend class RunListBuilder;
  /// The part of a run; of a strided one, whole pages or a piece of one.
  Run slice(const Run& run, GuestRange part) const;
  /// Where a slice that begins at `begin` has to end, at most `end`: a page of a strided run that is
  /// not wanted as a whole is a slice of its own.
  GuestPhysAddr cut(const Run& run, GuestPhysAddr begin, GuestPhysAddr end) const;
  /// The first run that ends after `gpa`.
  std::vector<Run>::const_iterator first_after(GuestPhysAddr gpa) const;

  std::uint32_t page_size_;
  std::vector<Run> runs_;
};

/// Collects runs in any order; where they overlap, the one added last wins.
///
/// Runs that arrive in ascending order are appended and coalesced at once. Others wait in arrival
/// order and are merged when they have become as many as half of what is there, so that n runs cost
/// O(n log n) time and O(result) memory, however often a live save repeats its pages.
class RunListBuilder {
 public:
  /// @param page_size  a power of two
  explicit RunListBuilder(std::uint32_t page_size) : list_(page_size) {}

  /// An empty run is ignored. Runs with a stride other than the page size begin on a page border
  /// and consist of whole pages.
  void add(const Run& run);
  /// The result; the builder is empty afterwards.
  RunList finish();

 private:
  void append(std::vector<Run>& to, const Run& run) const;
  bool coalesce(Run& last, const Run& next) const;
  std::vector<Run> resolve_pending();
  void merge();

  RunList list_;
  std::vector<Run> pending_;  ///< in arrival order, coalesced where neighbours allow it
};

}  // namespace vmconvert
