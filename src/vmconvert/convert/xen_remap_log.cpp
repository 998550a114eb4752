#include "vmconvert/convert/xen_remap_log.h"

#include <openssl/sha.h>

#include <array>
#include <nlohmann/json.hpp>

#include "vmconvert/base/packed.h"
#include "vmconvert/base/text.h"
#include "vmconvert/model/xen_resolve.h"

namespace vmconvert {
namespace {

using nlohmann::ordered_json;

constexpr std::uint64_t kPageShift = 12, kPresent = 1;
using Table = std::array<le64, 512>;

std::string sha256(const Table& table) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(table.data()), sizeof table, digest.data());
  std::string text;
  for (const unsigned char byte : digest) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    text += {kDigits[byte >> 4], kDigits[byte & 0xf]};
  }
  return text;
}

ordered_json entry_of(const XenTranslation::Table& table, const Table& before, const Table& after) {
  std::uint64_t rewritten = 0, cleared = 0, of_xen = 0;
  for (std::size_t slot = 0; slot < before.size(); ++slot) {
    if (before[slot] == after[slot]) continue;
    if (is_slot_of_xen(table.kind, slot)) {
      ++of_xen;
    } else if ((after[slot] & kPresent) != 0) {
      ++rewritten;
    } else {
      ++cleared;
    }
  }
  return {{"pfn", table.pfn.value},         {"kind", table_kind_name(table.kind)},
          {"entries_rewritten", rewritten}, {"entries_cleared", cleared},
          {"entries_of_xen", of_xen},       {"sha256_before", sha256(before)},
          {"sha256_after", sha256(after)}};
}

}  // namespace

std::string xen_remap_log(const std::string& file, const GuestImage& image) {
  if (!image.xen || !image.xen->translation) {
    throw Error(ErrorKind::usage, file, std::nullopt,
                "no page tables were translated, which --remap-log would list");
  }
  GuestImage original;
  original.sources = image.sources;
  original.runs = untranslated_runs(image);
  std::string text = "{\"schema\": \"vmconvert-xen-remap\", \"version\": 1, \"input\": " +
                     ordered_json(printable(file)).dump() + ", \"pages\": [";
  bool first = true;
  for (const XenTranslation::Table& table : image.xen->translation->tables) {
    Table before, after;
    const GuestPhysAddr at{table.pfn.value << kPageShift};
    if (!read_guest(original, at, std::as_writable_bytes(std::span(before))) ||
        !read_guest(image, at, std::as_writable_bytes(std::span(after))) || before == after) {
      continue;
    }
    text += (first ? "\n  " : ",\n  ") + entry_of(table, before, after).dump();
    first = false;
  }
  return text + "\n]}\n";
}

}  // namespace vmconvert
