#include "vmconvert/model/plain_memory.h"

namespace vmconvert {
namespace {

constexpr std::uint32_t kPage = 4096;
// Smaller: more runs, 10 MiB of them for 128 GiB in the worst case; larger: more zeros that are
// read.
constexpr std::uint64_t kSmallestHole = 256 * 1024;

}  // namespace

void add_plain_memory(RunListBuilder& runs, GuestRange guest, SourceId id, const ByteSource& source,
                      FileOffset at) {
  const FileRange all = FileRange::sized(at, guest.size());
  const auto guest_part = [&](FileOffset begin, FileOffset end) {
    return GuestRange::sized(guest.begin() + (begin - at), end - begin);
  };
  const auto add_data = [&](FileOffset begin, FileOffset end) {
    runs.add({guest_part(begin, end), InFile{id, kPage, begin}});
  };
  FileOffset data_from = at;  // where data that is not yet added begins
  for (FileOffset here = at; here < all.end();) {
    const FileRange data = source.next_data(here).intersection(all);
    const FileOffset hole_end = data.empty() ? all.end() : data.begin();
    if (hole_end - here >= kSmallestHole || (hole_end > here && data.empty())) {
      add_data(data_from, here);
      runs.add({guest_part(here, hole_end), Filled{std::byte{0}}});
      data_from = hole_end;
    }
    here = data.empty() ? all.end() : data.end();
  }
  add_data(data_from, all.end());
}

}  // namespace vmconvert
