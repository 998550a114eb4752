#include <algorithm>
#include <cstdlib>

#include "support/image_bytes.h"
#include "support/xen_guest.h"
#include "vmconvert/base/error.h"
#include "vmconvert/model/xen_search.h"

namespace vmconvert::test {
namespace {

class Silent final : public Diagnostics {
 public:
  void report(Level, std::string_view, std::optional<std::uint64_t>, std::string_view) override {}
  bool wants(Level) const override { return true; }
};

/// Takes numbers off the front; zeros behind the end.
class Numbers {
 public:
  explicit Numbers(std::span<const std::byte> bytes) : bytes_(bytes) {}
  bool empty() const { return bytes_.empty(); }
  std::uint64_t take(std::size_t size) {
    size = std::min(size, bytes_.size());
    std::uint64_t value = 0;
    for (std::size_t i = size; i > 0; --i)
      value = value << 8 | std::to_integer<std::uint64_t>(bytes_[i - 1]);
    bytes_ = bytes_.subspan(size);
    return value;
  }

 private:
  std::span<const std::byte> bytes_;
};

/// A PV guest, and changes to it: kind (1), which page of those it has (2), a slot or the number of
/// a page (2), a word (8). A whole guest would be too large to be mutated.
GuestImage guest_of(std::span<const std::byte> bytes) {
  Numbers numbers(bytes);
  const std::uint64_t options = numbers.take(1);
  XenGuestPlan plan{.p2m = static_cast<P2mKind>(options % 5),
                    .old_direct_map = (options & 8) != 0,
                    .pages = 4 * 512 + numbers.take(1) * 8 + 1024};
  if ((options & 0x10) != 0) plan.ballooned = {{0xa00, 0xa00 + numbers.take(2) % 0x300}};
  if ((options & 0x20) != 0) plan.foreign = {0xb00 + numbers.take(1)};
  if ((options & 0x40) != 0) plan.same_frame = {{0xb01, 0xb01 + numbers.take(1)}};
  XenGuest guest(plan);
  for (unsigned changes = 0; !numbers.empty() && changes < 256; ++changes) {
    const std::uint64_t kind = numbers.take(1);
    const auto pfns = guest.pfns();
    const std::uint64_t pfn = pfns[numbers.take(2) % pfns.size()], at = numbers.take(2);
    if (kind % 4 == 0) {
      guest.page(pfn)[at % 512] = numbers.take(8);
    } else if (kind % 4 == 1) {
      guest.page(pfn)[at % 512] ^= std::uint64_t{1} << numbers.take(1) % 64;
    } else if (kind % 4 == 2) {
      guest.copy_page(pfn, at);
    } else if (pfns.size() > 1) {
      guest.remove_page(pfn);
    }
  }
  return guest.image();
}

}  // namespace
}  // namespace vmconvert::test

// Searches the memory of a PV guest that is hostile. Whatever comes out of it can be read.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vmconvert;
  GuestImage image = test::guest_of(std::as_bytes(std::span(data, size)));
  test::Silent diagnostics;
  try {
    resolve_found_xen("guest", XenLayout::resolved, image, diagnostics);
  } catch (const Error&) {
    return 0;
  }
  for (const Run& run : image.runs)
    test::guest_bytes(image, run.guest.begin().value, static_cast<std::size_t>(run.guest.size()));
  return 0;
}
