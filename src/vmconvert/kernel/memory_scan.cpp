#include "vmconvert/kernel/memory_scan.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "vmconvert/kernel/vmcoreinfo_note.h"

namespace vmconvert {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::size_t kWindow = 256 * 1024;
constexpr std::size_t kMostFound =
    64;  // of a guest that saved many memory images in its page cache

/// Calls visit(gpa, bytes) for all of memory that is not known to be zero, in pieces of whole
/// pages.
template <class Visit>
void for_each_window(const GuestImage& image, const Visit& visit) {
  std::vector<std::byte> window;
  for (const Run& run : image.runs) {
    if (std::holds_alternative<Filled>(run.backing)) continue;
    GuestPhysAddr at{align_up(run.guest.begin().value, kPage)};
    while (at < run.guest.end()) {
      const std::uint64_t left = run.guest.end() - at;
      window.resize(static_cast<std::size_t>(std::min<std::uint64_t>(kWindow, left)));
      read_guest(image, at, window);
      visit(at, std::span<const std::byte>(window));
      at = at + window.size();
    }
  }
}

}  // namespace

std::vector<GuestPhysAddr> scan_for_text(const GuestImage& image, std::string_view text,
                                         std::uint64_t like) {
  std::vector<GuestPhysAddr> found;
  const auto in_page = static_cast<std::size_t>(like % kPage);
  std::string whole(text.size(), '\0');
  for_each_window(image, [&](GuestPhysAddr at, std::span<const std::byte> window) {
    for (std::size_t i = in_page; i < window.size() && found.size() < kMostFound; i += kPage) {
      // The text may run on into a page that is elsewhere in the input.
      const std::size_t here = std::min(text.size(), window.size() - i);
      if (std::memcmp(window.data() + i, text.data(), here) != 0) continue;
      if (here < text.size()) {
        if (!read_guest(image, at + i, std::as_writable_bytes(std::span(whole))) || whole != text)
          continue;
      }
      found.push_back(at + i);
    }
  });
  return found;
}

std::vector<Vmcoreinfo> scan_for_vmcoreinfo(const GuestImage& image) {
  std::vector<Vmcoreinfo> notes, texts;
  const auto examine = [&](GuestPhysAddr at, std::span<const std::byte> head) {
    if (!may_be_vmcoreinfo(head, image.byte_order) || notes.size() + texts.size() >= kMostFound)
      return;
    auto found = read_vmcoreinfo(image, at, "found by its form");
    if (!found) return;
    auto& to = std::to_integer<char>(head[0]) == 'O' ? texts : notes;
    to.push_back(std::move(*found));
  };
  for_each_window(image, [&](GuestPhysAddr at, std::span<const std::byte> window) {
    for (std::size_t i = 0; i < window.size(); i += kPage) examine(at + i, window.subspan(i));
  });
  for (Vmcoreinfo& text : texts) {
    const bool known = std::any_of(notes.begin(), notes.end(),
                                   [&](const Vmcoreinfo& note) { return note.text == text.text; });
    if (!known) notes.push_back(std::move(text));
  }
  return notes;
}

}  // namespace vmconvert
