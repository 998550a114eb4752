#include "xen/stream_pages.h"

#include <utility>
#include <variant>

#include "xen/xen_format.h"

namespace vmconvert::xen {
namespace {

/// Stands for a page that was taken back, until the end.
constexpr Filled kGone{};

}  // namespace

bool StreamPages::present(std::uint64_t pfn) {
  const std::uint64_t number = pfn / kBlock;
  if (recent_ == nullptr || recent_number_ != number) {
    const auto found = blocks_.find(number);
    recent_ = found == blocks_.end() ? nullptr : &found->second;
    recent_number_ = number;
  }
  return recent_ != nullptr && recent_->test(pfn % kBlock);
}

void StreamPages::set(std::uint64_t pfn, bool present) {
  if (recent_ == nullptr || recent_number_ != pfn / kBlock) {
    recent_number_ = pfn / kBlock;
    recent_ = &blocks_[recent_number_];
  }
  recent_->set(pfn % kBlock, present);
}

void StreamPages::add(std::uint64_t pfn, FileOffset at) {
  if (present(pfn)) ++replaced_;
  set(pfn, true);
  const GuestPhysAddr gpa{pfn << kPageShift};
  if (!open_.guest.empty() && open_.guest.end() == gpa) {
    const auto* file = std::get_if<InFile>(&open_.backing);
    if (file != nullptr && file->at + open_.guest.size() == at) {
      open_.guest = GuestRange::sized(open_.guest.begin(), open_.guest.size() + kPage);
      return;
    }
  }
  flush();
  open_ = {GuestRange::sized(gpa, kPage), InFile{0, kPage, at}};
}

void StreamPages::drop(std::uint64_t pfn) {
  if (!present(pfn)) return;
  set(pfn, false);
  ++dropped_;
  flush();
  builder_.add({GuestRange::sized({pfn << kPageShift}, kPage), kGone});
}

void StreamPages::flush() {
  builder_.add(open_);  // ignored if it is empty
  open_ = Run{};
}

RunList StreamPages::finish() {
  flush();
  RunList all = builder_.finish();
  blocks_.clear();
  recent_ = nullptr;
  if (std::exchange(dropped_, 0) == 0) return all;
  RunListBuilder kept(kPage);
  for (const Run& run : all) {
    if (std::holds_alternative<InFile>(run.backing)) kept.add(run);
  }
  return kept.finish();
}

}  // namespace vmconvert::xen
