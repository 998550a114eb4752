#include "support/xen_guest.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "vmconvert/io/byte_source.h"

namespace vmconvert::test {
namespace {

constexpr std::uint64_t kAllOnes = ~std::uint64_t{0};
constexpr std::uint64_t kBit52 = 0x0010000000000000, kBit62 = 0x4000000000000000,
                        kBit63 = 0x8000000000000000;
constexpr std::uint64_t kFrameBits = 0x000ffffffffff000;

bool contains(const std::vector<std::uint64_t>& list, std::uint64_t n) {
  return std::find(list.begin(), list.end(), n) != list.end();
}

}  // namespace

XenGuest::XenGuest(XenGuestPlan plan) : plan_(std::move(plan)), blocks_((plan_.pages + 511) / 512) {
  add_tables();
  add_p2m();
  add_order();
  if (plan_.start_info) add_start_info();
  add_direct_map();
  for (const std::uint64_t data : {0x150U, 0x300U, 0x777U}) {
    for (std::size_t i = 0; i < 512; ++i) pages_[data][i] = (data * 31 + i) * 0x9e3779b97f4a7c15;
  }
}

std::uint64_t XenGuest::mfn(std::uint64_t pfn) const {
  for (const auto& [first, second] : plan_.same_frame) {
    if (second == pfn) pfn = first;
  }
  return 0x400000 + (pfn * 0x3779b1 & 0x3fffff);
}

bool XenGuest::is_ballooned(std::uint64_t pfn) const {
  return pfn >= plan_.pages ||
         std::any_of(plan_.ballooned.begin(), plan_.ballooned.end(),
                     [&](const auto& hole) { return hole.first <= pfn && pfn < hole.second; });
}

std::uint64_t XenGuest::leaf(std::uint64_t k) const {
  switch (plan_.p2m) {
    case P2mKind::linear:
      return 0x4ff - k;
    case P2mKind::flat:
      return 0x480 + k;
    default:
      return 0x480 + k * 5 % 128;
  }
}

void XenGuest::entry(std::uint64_t table, std::size_t slot, std::uint64_t target,
                     std::uint64_t flags) {
  pages_.at(table)[slot] = mfn(target) << 12 | flags;
}

void XenGuest::root(std::uint64_t pfn) {
  table(pfn, 4);
  Page& page = pages_[pfn];
  page[256] = 0x80000000bfc72025;
  page[258] = kBit63 | (plan_.seeds ? mfn(pfn) : mfn(pfn) + 0x800000) << 12 | 0x063;
  page[260] = 0x80000000bd348063;
  page[261] = 0xbfc6d063;
  page[262] = 0x80000000bfc6c063;
}

void XenGuest::add_tables() {
  for (const std::uint64_t l4 : {kL4, kOtherL4}) {
    root(l4);
    entry(l4, plan_.old_direct_map ? 272 : 273, kL3);
    entry(l4, 511, kImageL3);
    if (plan_.p2m == P2mKind::linear) entry(l4, 402, kListL3);
  }
  root(kUserL4);
  entry(kUserL4, 511, kImageL3);
  table(kL3, 3);
  table(kL2, 2);
  table(kImageL3, 3);
  table(kImageL2, 2);
  table(kImageL1, 1);
  entry(kL3, 0, kL2);
  for (std::uint64_t k = 0; k < blocks_; ++k) {
    table(l1(k), 1);
    entry(kL2, k, l1(k));
  }
  entry(kImageL3, 510, kImageL2);
  entry(kImageL2, 0, kImageL1);
  for (std::uint64_t i = 0x100; i < 0x150; ++i) entry(kImageL1, i, i, 0x65);
  if (plan_.banner) std::memcpy(&pages_[kBanner][6], "Linux version 6.1.0 (a@b) #1 SMP\n", 34);
  // A process with a page of data, and one mapping of what is not the guest's.
  table(kUserL3, 3);
  table(kUserL2, 2);
  table(kUserL1, 1);
  entry(kOtherL4, 0, kUserL3);
  entry(kUserL4, 0, kUserL3);
  entry(kUserL3, 1, kUserL2);
  entry(kUserL2, 2, kUserL1);
  entry(kUserL1, 3, 0x777, kBit63 | 0x67);
}

/// Maps all of memory, page tables read-only.
void XenGuest::add_direct_map() {
  for (std::uint64_t pfn = 0; pfn < blocks_ * 512; ++pfn) {
    if (is_ballooned(pfn) || contains(plan_.identity, pfn)) continue;
    const std::uint64_t flags = kBit63 | kBit52 | (tables_.contains(pfn) ? 0x25 : 0x67);
    entry(l1(pfn / 512), pfn % 512, pfn, flags);
    // What another guest lent is mapped, too.
    if (contains(plan_.foreign, pfn))
      pages_[l1(pfn / 512)][pfn % 512] = 0x1234000000 + (pfn << 12) + flags;
  }
}

void XenGuest::add_p2m() {
  for (std::uint64_t pfn = 0; pfn < blocks_ * 512; ++pfn) {
    std::uint64_t& word = pages_[leaf(pfn / 512)][pfn % 512];
    word = is_ballooned(pfn) ? kAllOnes : mfn(pfn);
    if (contains(plan_.identity, pfn)) word = kBit62 | pfn;
    if (contains(plan_.foreign, pfn)) word = kBit63 | (0x1234000 + pfn);
  }
}

/// What leads the kernel to the pages of its p2m.
void XenGuest::add_order() {
  const std::uint64_t direct_map = plan_.old_direct_map ? 0xffff880000000000 : 0xffff888000000000;
  if (plan_.p2m == P2mKind::linear) {
    table(kListL3, 3);
    table(kListL2, 2);
    table(kListL1, 1);
    entry(kListL3, 256, kListL2);
    entry(kListL2, 0, kListL1);
    for (std::uint64_t k = 0; k < blocks_; ++k) entry(kListL1, k, leaf(k));
  } else if (plan_.p2m == P2mKind::tree) {
    pages_[kMissing].fill(kAllOnes);
    pages_[kTop].fill(direct_map + kMissing * 4096);
    pages_[kTop][0] = direct_map + kMid * 4096;
    pages_[kMid].fill(0xffffffff80000000 + kMissing * 4096);
    for (std::uint64_t k = 0; k < blocks_; ++k) pages_[kMid][k] = direct_map + leaf(k) * 4096;
  } else if (plan_.p2m == P2mKind::frame_list) {
    pages_[kMissing].fill(kAllOnes);
    pages_[kFrameList].fill(mfn(kMissing));
    for (std::uint64_t k = 0; k < blocks_; ++k) pages_[kFrameList][k] = mfn(leaf(k));
  }
}

void XenGuest::add_start_info() {
  ByteWriter page;
  page.text("xen-3.0-x86_64").fill(18).le64(plan_.pages).le64(0xbfbb7000).le64(8);
  page.le64(mfn(kStartInfo + 1)).le64(1).le64(mfn(kStartInfo + 2)).le64(2);
  page.le64(0xffff888004a03000).le64(47).le64(0xffffc90000000000);
  std::memcpy(pages_[kStartInfo].data(), page.bytes().data(), page.size());
}

GuestImage XenGuest::image_of(const Pages& pages) {
  Bytes content;
  RunListBuilder runs(4096);
  for (const auto& [pfn, words] : pages) {
    runs.add({GuestRange::sized({pfn * 4096}, 4096), InFile{0, 4096, {content.size()}}});
    ByteWriter page;
    for (const std::uint64_t word : words) page.le64(word);
    content.insert(content.end(), page.bytes().begin(), page.bytes().end());
  }
  GuestImage image;
  image.sources = {std::make_shared<MemorySource>("guest", std::move(content))};
  image.runs = runs.finish();
  return image;
}

Bytes XenGuest::raw() const {
  Bytes bytes(plan_.pages * 4096);
  for (const auto& [pfn, words] : pages_) {
    ByteWriter page;
    for (const std::uint64_t word : words) page.le64(word);
    std::copy(page.bytes().begin(), page.bytes().end(),
              bytes.begin() + static_cast<std::ptrdiff_t>(pfn * 4096));
  }
  return bytes;
}

Bytes XenGuest::translated(std::uint64_t pfn) const {
  std::map<std::uint64_t, std::uint64_t> pfns;
  for (std::uint64_t i = plan_.pages; i-- > 0;) {
    if (!is_ballooned(i) && !contains(plan_.foreign, i) && !contains(plan_.identity, i))
      pfns[mfn(i)] = i;
  }
  const auto level = tables_.find(pfn);
  ByteWriter page;
  for (std::size_t slot = 0; slot < 512; ++slot) {
    std::uint64_t word = pages_.at(pfn)[slot];
    if (level != tables_.end()) {
      const auto to = pfns.find((word & kFrameBits) >> 12);
      if ((word & 1) != 0) word = to == pfns.end() ? 0 : (word & ~kFrameBits) | to->second << 12;
      if (level->second == 4 && slot >= 256 && slot < 272) word = 0;
    }
    page.le64(word);
  }
  return page.bytes();
}

GuestImage XenGuest::translated_image() const {
  Pages pages = pages_;
  for (auto& [pfn, words] : pages) {
    const Bytes bytes = translated(pfn);
    for (std::size_t i = 0; i < 512; ++i) {
      words[i] = 0;
      for (std::size_t b = 8; b-- > 0;)
        words[i] = words[i] << 8 | std::to_integer<std::uint64_t>(bytes[8 * i + b]);
    }
  }
  return image_of(pages);
}

std::vector<std::uint64_t> XenGuest::pfns() const {
  std::vector<std::uint64_t> all;
  for (const auto& [pfn, words] : pages_) all.push_back(pfn);
  return all;
}

}  // namespace vmconvert::test
