#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "support/image_bytes.h"
#include "support/pc_stream.h"
#include "support/xen_builder.h"

namespace vmconvert::test {

inline constexpr std::uint64_t kNx = std::uint64_t{1} << 63, kXenMark = std::uint64_t{1} << 52;
inline constexpr std::uint64_t kFlags = 0x067, kReadOnly = 0x025;
inline constexpr std::size_t kXenPages = 220;

/// A PV guest of kXenPages pages whose page tables are built entry by entry, with machine frames
/// and, as what is expected, with pfns.
class XenTablesGuest {
 public:
  explicit XenTablesGuest(unsigned width) : width_(width) {
    for (std::size_t i = 0; i < kXenPages; ++i) {
      mfns_.push_back(0x40000 + i * 7919 % 4099);
      content_.push_back(page_of(i));
      expected_.push_back(page_of(i));
    }
  }

  void table(std::size_t pfn) {
    tables_.push_back(pfn);
    content_[pfn] = expected_[pfn] = Bytes(4096);
  }
  void entry(std::size_t table, std::size_t slot, std::size_t target,
             std::uint64_t flags = kFlags) {
    raw(content_[table], slot, mfns_.at(target) << 12 | flags);
    raw(expected_[table], slot, target << 12 | flags);
  }
  /// One that is not translated, but becomes `after`.
  void odd(std::size_t table, std::size_t slot, std::uint64_t before, std::uint64_t after) {
    raw(content_[table], slot, before);
    raw(expected_[table], slot, after);
  }
  /// Maps all pages one after the other; page tables read-only, as Xen wants it.
  void map_all(std::size_t leaf) {
    for (std::size_t i = 0; i < kXenPages; ++i) {
      const bool is_table = std::find(tables_.begin(), tables_.end(), i) != tables_.end();
      entry(leaf, i, i, (is_table ? kReadOnly : kFlags) | kNx | kXenMark);
    }
  }
  std::uint64_t mfn(std::size_t pfn) const { return mfns_.at(pfn); }
  const Bytes& expected(std::size_t pfn) const { return expected_[pfn]; }
  std::size_t tables() const { return tables_.size(); }

  XenCore core(std::uint64_t cr3_mfn, std::uint64_t user_mfn = 0) const {
    XenCore core;
    core.machine = width_ == 8 ? 62 : 3;
    for (std::size_t i = 0; i < kXenPages; ++i) core.pages.push_back({i, content_[i], mfns_[i]});
    const XenContext context{.user_root = user_mfn << 12, .cr3 = cr3_mfn << 12};
    core.contexts = {width_ == 8 ? context.wide() : context.narrow()};
    return core;
  }

 private:
  static void raw(Bytes& page, std::size_t slot, std::uint64_t value) {
    overwrite(page, 8 * slot, ByteWriter().le64(value).bytes());
  }
  unsigned width_;
  std::vector<std::uint64_t> mfns_;
  std::vector<Bytes> content_, expected_;
  std::vector<std::size_t> tables_;
};

/// Pages 200 to 202: tables of the kernel. 203: root of the process that runs; 204: of another,
/// found by its read-only mapping alone; 205 to 207: that one's own tables. 208: its root for user
/// mode. 209: a root that was freed: mapped for writing, so it is data.
inline XenTablesGuest wide_xen_guest() {
  XenTablesGuest guest(8);
  for (std::size_t pfn = 200; pfn <= 208; ++pfn) guest.table(pfn);
  for (const std::size_t root : {203U, 204U}) {
    guest.entry(root, 272, 200);
    guest.odd(root, 256, 0x8000000012345025, 0);
    guest.odd(root, 258, guest.mfn(root) << 12 | 0x8000000000000063, 0);
    guest.odd(root, 271, 1, 0);
  }
  guest.entry(200, 0, 201);
  guest.entry(201, 0, 202);
  guest.map_all(202);
  guest.entry(204, 0, 205);
  guest.entry(205, 1, 206, kFlags | kNx);
  guest.entry(206, 2, 207);
  guest.entry(207, 5, 3);
  guest.entry(207, 6, 4, kReadOnly);
  guest.odd(207, 7, 0xfffff067, 0);           // of another domain
  guest.odd(207, 8, 0x40001000, 0x40001000);  // not present: swapped out
  guest.entry(208, 0, 205);
  return guest;
}

}  // namespace vmconvert::test
