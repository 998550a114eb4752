#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "vmconvert/model/xen_facts.h"

namespace vmconvert {

/// Which page of the guest a machine frame is: the p2m turned round. Takes 8 bytes a page.
class XenM2p {
 public:
  /// Makes room for `pages` calls of add().
  void reserve(std::uint64_t pages) { entries_.reserve(static_cast<std::size_t>(pages)); }
  /// Frames of which there is no such page, or that no host has (2^32 frames are 16 TiB), are left
  /// out.
  void add(Pfn pfn, Mfn mfn);
  /// To be called after the last add(). Of a machine frame that came twice the first page counts.
  void finish();

  std::uint64_t size() const { return entries_.size(); }
  /// Of entry `index`, below size(); they are in the order of their machine frames.
  Pfn pfn_at(std::size_t index) const { return {entries_.at(index).pfn}; }
  Mfn mfn_at(std::size_t index) const { return {entries_.at(index).mfn}; }
  std::uint64_t duplicates() const { return duplicates_; }

  /// Looks frames up; neighbours of the frame before are found at once. For one thread.
  class Lookup {
   public:
    explicit Lookup(const XenM2p& m2p) : m2p_(m2p) {}
    std::optional<Pfn> find(Mfn mfn);
    /// The same, as a number below size() that stands for the page.
    std::optional<std::size_t> find_index(Mfn mfn);

   private:
    const XenM2p& m2p_;
    std::size_t hint_ = 0;
  };

 private:
  struct Entry {
    std::uint32_t mfn = 0, pfn = 0;
  };
  /// The entry of `mfn` if there is one; else any other, or the end.
  std::vector<Entry>::const_iterator candidate(std::uint64_t mfn) const;

  std::vector<Entry> entries_;  ///< by mfn, once it is finished
  // Where the entries of each 2^shift_ machine frames from that of the first entry on begin, so
  // that a search touches few pages of memory.
  std::vector<std::uint32_t> starts_;
  unsigned shift_ = 0;
  std::uint64_t duplicates_ = 0;
};

}  // namespace vmconvert
