#pragma once

#include <bitset>
#include <cstdint>
#include <unordered_map>

#include "vmconvert/model/run_list.h"

namespace vmconvert::xen {

/// Collects the pages of a stream that may send each of them several times, or take it back.
/// Backed by source 0.
class StreamPages {
 public:
  /// The guest's page `pfn`, which must be below kFramesEnd, has its content at `at` from now on.
  void add(std::uint64_t pfn, FileOffset at);
  /// The guest has no such page, from now on.
  void drop(std::uint64_t pfn);
  /// The result; the collection is empty afterwards.
  RunList finish();

  std::uint64_t replaced() const { return replaced_; }  ///< pages that came again
  std::uint64_t dropped() const { return dropped_; }    ///< pages that were taken back

 private:
  static constexpr std::uint64_t kBlock = 512;
  using Block = std::bitset<kBlock>;

  bool present(std::uint64_t pfn);
  void set(std::uint64_t pfn, bool present);
  void flush();

  RunListBuilder builder_{4096};
  Run open_;  ///< pages that follow each other, not yet in the builder
  // Which pages there are: a stream lists each hole of a large address space, and only those that
  // were pages before are of interest.
  std::unordered_map<std::uint64_t, Block> blocks_;
  std::uint64_t recent_number_ = ~std::uint64_t{0};
  Block* recent_ = nullptr;
  std::uint64_t replaced_ = 0, dropped_ = 0;
};

}  // namespace vmconvert::xen
