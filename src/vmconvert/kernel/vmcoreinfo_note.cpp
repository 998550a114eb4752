#include "vmconvert/kernel/vmcoreinfo_note.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "vmconvert/base/packed.h"
#include "vmconvert/base/text.h"

namespace vmconvert {
namespace {

using namespace std::string_view_literals;

// Truth: Linux kernel/crash_core.c (vmcore_info.c), append_elf_note() and vmcoreinfo_append_str().
constexpr std::string_view kName = "VMCOREINFO\0\0"sv;  // namesz 11, padded to 4 bytes
constexpr std::size_t kTextAt = 12 + kName.size();
constexpr std::string_view kFirstKey = "OSRELEASE="sv;
// VMCOREINFO_BYTES is a page; on kernels with large pages the text is not longer than on others.
constexpr std::size_t kLongestNote = 16 * 1024, kShortestPage = 4096;
constexpr std::size_t kLongestRelease = 64;  // __NEW_UTS_LEN

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool is_note(std::span<const std::byte> page, std::endian order) {
  return page.size() > kTextAt && load<std::uint32_t>(page, order) == 11 &&
         load<std::uint32_t>(page.subspan(8), order) == 0 &&
         text_of(page).substr(12, kName.size()) == kName;
}

bool is_line(std::string_view line) {
  const std::size_t equals = line.find('=');
  return equals != std::string_view::npos && equals != 0 &&
         std::all_of(line.begin(), line.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

}  // namespace

bool may_be_vmcoreinfo(std::span<const std::byte> page, std::endian order) {
  return text_of(page).starts_with(kFirstKey) || is_note(page, order);
}

std::optional<Vmcoreinfo> read_vmcoreinfo(const GuestImage& image, GuestPhysAddr at,
                                          std::string_view how) {
  std::array<std::byte, 64> head{};
  if (!read_guest(image, at, head) || !may_be_vmcoreinfo(head, image.byte_order))
    return std::nullopt;
  std::vector<std::byte> bytes(kLongestNote);
  while (!read_guest(image, at, bytes)) {  // what follows it may be no memory
    if (bytes.size() <= kShortestPage) return std::nullopt;
    bytes.resize(bytes.size() / 2);
  }
  const auto text = parse_vmcoreinfo(bytes, image.byte_order);
  if (!text) return std::nullopt;
  return Vmcoreinfo{*text, "guest address " + hex(at.value) + ", " + std::string(how)};
}

std::optional<std::string> parse_vmcoreinfo(std::span<const std::byte> page, std::endian order) {
  std::string_view text = text_of(page);
  if (is_note(page, order)) {
    const std::uint32_t descsz = load<std::uint32_t>(page.subspan(4), order);
    text = text.substr(kTextAt, descsz);
  }
  if (!text.starts_with(kFirstKey)) return std::nullopt;
  text = text.substr(0, text.find('\0'));
  if (text.empty() || text.back() != '\n') return std::nullopt;
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    if (!is_line(line)) return std::nullopt;
    rest.remove_prefix(line.size() + 1);
  }
  const Vmcoreinfo info{std::string(text), ""};
  const auto release = info.value("OSRELEASE");
  const auto page_size = info.value("PAGESIZE");
  if (!release || release->empty() || release->size() > kLongestRelease || !page_size ||
      !(info.symbol("swapper_pg_dir") || info.symbol("init_uts_ns"))) {
    return std::nullopt;
  }
  return info.text;
}

}  // namespace vmconvert
