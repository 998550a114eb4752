#include "vmconvert/model/run_list.h"

#include <algorithm>
#include <numeric>
#include <queue>
#include <stdexcept>

namespace vmconvert {
namespace {

// Larger: fewer merges of a live save, 40 bytes each while they wait.
constexpr std::size_t kFewestPending = 16 * 1024;

// Two single pages that happen to follow each other could be a run of any stride; far ones would
// make the copy engine read what lies between.
constexpr std::uint64_t kLargestStridePages = 2;

}  // namespace

Run RunList::slice(const Run& run, GuestRange part) const {
  if (part == run.guest) return run;
  Run result{part, run.backing};
  if (auto* file = std::get_if<InFile>(&result.backing)) {
    const std::uint64_t skipped = part.begin() - run.guest.begin();
    const std::uint64_t within_page = file->stride == page_size_ ? skipped : skipped % page_size_;
    file->at = file->at + ((skipped - within_page) / page_size_ * file->stride + within_page);
    if (part.size() <= page_size_) file->stride = page_size_;
  }
  return result;
}

GuestPhysAddr RunList::cut(const Run& run, GuestPhysAddr begin, GuestPhysAddr end) const {
  const auto* file = std::get_if<InFile>(&run.backing);
  if (file == nullptr || file->stride == page_size_) return end;
  const std::uint64_t into_page = (begin - run.guest.begin()) % page_size_;
  if (into_page != 0) return std::min(end, begin + (page_size_ - into_page));
  const std::uint64_t whole = (end - begin) / page_size_ * page_size_;
  return whole == 0 ? end : begin + whole;
}

std::vector<Run>::const_iterator RunList::first_after(GuestPhysAddr gpa) const {
  return std::partition_point(runs_.begin(), runs_.end(),
                              [&](const Run& run) { return run.guest.end() <= gpa; });
}

std::vector<GuestRange> RunList::extents() const {
  std::vector<GuestRange> result;
  for (const Run& run : runs_) {
    if (!result.empty() && result.back().end() == run.guest.begin()) {
      result.back() = GuestRange::between(result.back().begin(), run.guest.end());
    } else {
      result.push_back(run.guest);
    }
  }
  return result;
}

std::uint64_t RunList::total_bytes() const {
  return std::accumulate(runs_.begin(), runs_.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const Run& run) { return sum + run.guest.size(); });
}

void RunList::check_invariants() const {
  const RunListBuilder builder(page_size_);
  for (std::size_t i = 0; i < runs_.size(); ++i) {
    const Run& run = runs_[i];
    if (run.guest.empty()) throw std::logic_error("empty run");
    if (const auto* file = std::get_if<InFile>(&run.backing)) {
      if (file->stride < page_size_) throw std::logic_error("stride below the page size");
      const bool strided = file->stride != page_size_;
      if (strided &&
          (run.guest.begin().value % page_size_ != 0 || run.guest.size() % page_size_ != 0)) {
        throw std::logic_error("strided run off its page borders");
      }
      if (strided && run.guest.size() == page_size_)
        throw std::logic_error("stride of a single page");
    }
    if (i == 0) continue;
    if (run.guest.begin() < runs_[i - 1].guest.end()) throw std::logic_error("runs overlap");
  }
}

bool RunListBuilder::coalesce(Run& last, const Run& next) const {
  if (last.guest.end() != next.guest.begin()) return false;
  const std::uint32_t page = list_.page_size_;
  if (const auto* fill = std::get_if<Filled>(&next.backing)) {
    const auto* before = std::get_if<Filled>(&last.backing);
    if (before == nullptr || !(*before == *fill)) return false;
  } else {
    auto* a = std::get_if<InFile>(&last.backing);
    const InFile& b = std::get<InFile>(next.backing);
    if (a == nullptr || a->source != b.source || b.at <= a->at) return false;
    const bool a_single = last.guest.size() == page;
    const bool b_single = next.guest.size() == page;
    std::uint64_t stride = a_single ? (b_single ? b.at - a->at : b.stride) : a->stride;
    if (stride < page || stride > kLargestStridePages * page) return false;
    if (!a_single && !b_single && a->stride != b.stride) return false;
    if (stride == page) {
      if (b.at - a->at != last.guest.size()) return false;
    } else {
      if (last.guest.begin().value % page != 0 || last.guest.size() % page != 0 ||
          next.guest.size() % page != 0 || b.at - a->at != last.guest.size() / page * stride) {
        return false;
      }
    }
    a->stride = static_cast<std::uint32_t>(stride);
  }
  last.guest = GuestRange::between(last.guest.begin(), next.guest.end());
  return true;
}

void RunListBuilder::append(std::vector<Run>& to, const Run& run) const {
  if (to.empty() || !coalesce(to.back(), run)) to.push_back(run);
}

void RunListBuilder::add(const Run& run) {
  if (run.guest.empty()) return;
  auto& runs = list_.runs_;
  if (pending_.empty() && (runs.empty() || runs.back().guest.end() <= run.guest.begin())) {
    append(runs, run);
    return;
  }
  append(pending_, run);
  if (pending_.size() >= std::max(kFewestPending, runs.size() / 2)) merge();
}

/// What waits, as sorted disjoint runs: a sweep over the begins, keeping the runs that are open in
/// a heap whose top is the one added last.
std::vector<Run> RunListBuilder::resolve_pending() {
  std::vector<std::uint32_t> order(pending_.size());
  std::iota(order.begin(), order.end(), 0U);
  std::sort(order.begin(), order.end(), [this](std::uint32_t a, std::uint32_t b) {
    return pending_[a].guest.begin() < pending_[b].guest.begin();
  });
  std::vector<Run> result;
  std::priority_queue<std::uint32_t> open;  // indices into pending_: the largest came last
  std::size_t next = 0;
  GuestPhysAddr at{};
  while (next < order.size() || !open.empty()) {
    while (!open.empty() && pending_[open.top()].guest.end() <= at) open.pop();
    if (open.empty()) {
      if (next == order.size()) break;
      at = pending_[order[next]].guest.begin();
    }
    while (next < order.size() && pending_[order[next]].guest.begin() <= at)
      open.push(order[next++]);
    const Run& top = pending_[open.top()];
    GuestPhysAddr end = top.guest.end();
    if (next < order.size()) end = std::min(end, pending_[order[next]].guest.begin());
    if (end > at) append(result, list_.slice(top, GuestRange::between(at, end)));
    at = std::max(at, end);
  }
  pending_.clear();
  return result;
}

void RunListBuilder::merge() {
  const std::vector<Run> above = resolve_pending();
  const std::vector<Run> below = std::move(list_.runs_);
  std::vector<Run>& merged = list_.runs_;
  merged.clear();
  merged.reserve(below.size() + above.size());
  auto over = above.begin();
  for (const Run& run : below) {
    GuestPhysAddr at = run.guest.begin();
    while (over != above.end() && over->guest.end() <= run.guest.end()) {
      if (over->guest.begin() > at) {
        append(merged, list_.slice(run, GuestRange::between(at, over->guest.begin())));
      }
      append(merged, *over);
      at = std::max(at, over->guest.end());
      ++over;
    }
    GuestPhysAddr end = run.guest.end();
    if (over != above.end()) end = std::min(end, over->guest.begin());
    if (at < end) append(merged, list_.slice(run, GuestRange::between(at, end)));
  }
  for (; over != above.end(); ++over) append(merged, *over);
}

RunList RunListBuilder::finish() {
  if (!pending_.empty()) merge();
  list_.runs_.shrink_to_fit();
  return std::exchange(list_, RunList(list_.page_size_));
}

}  // namespace vmconvert
