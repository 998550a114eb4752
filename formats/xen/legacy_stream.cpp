#include "xen/legacy_stream.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vmconvert/base/text.h"
#include "vmconvert/io/cursor.h"
#include "xen/xen_format.h"

namespace vmconvert::xen {
namespace {

// Truth: Xen 4.5, tools/libxc/xc_domain_save.c, xc_domain_restore.c, xg_save_restore.h. A "word" is
// an unsigned long of the toolstack, 8 or 4 bytes.
//   word p2m_size
//   PV, since 3.1: word ~0, u32 size, blocks {char id[4], u32 size, data}
//   PV: word frames[(p2m_size - 1) / (4096 / guest width) + 1]
//   chunks: s32 type; > 0: so many words of pages, then the pages; 0: end
//   tail of PV: u32 n, word unmapped[n], per vCPU a context and what the blocks say, shared info
//   page tail of HVM: u64 special[3], u32 size, HVM context
constexpr std::uint64_t kMostPages = std::uint64_t{1} << 28;  // what the words have room for
constexpr std::int32_t kLargestBatch = 1024;
constexpr std::uint32_t kTypeShift = 28, kPfnMask = (1U << 28) - 1;
constexpr std::uint32_t kLargestInfo = 64 * 1024;
constexpr std::uint64_t kExtended = 128;  // struct xen_domctl_ext_vcpucontext

enum Chunk : std::int32_t {
  kEnd = 0,
  kVerify = -1,
  kVcpuInfo = -2,
  kTsc = -7,
  kLastCheckpoint = -9,
  kCompressed = -12,
  kEnableCompression = -13,
  kToolstack = -18,
};

/// Chunks of a u32 of padding and a u64: identity map, VM86 TSS, console, ACPI, Viridian, IOREQ
/// server, generation id and the like.
bool is_parameter(std::int32_t chunk) {
  constexpr std::array kParameters{-3, -4, -8, -10, -11, -14, -15, -16, -17, -19, -20};
  return std::find(kParameters.begin(), kParameters.end(), chunk) != kParameters.end();
}

bool is_chunk(std::int32_t chunk) {
  return (chunk >= kTsc && chunk <= kLargestBatch && chunk != -5 && chunk != -6) ||
         chunk == kLastCheckpoint || chunk == kCompressed || chunk == kEnableCompression ||
         chunk == kToolstack || is_parameter(chunk);
}

bool has_page(std::uint32_t type) { return type < 0xd; }
bool is_reserved(std::uint32_t type) { return type >= 5 && type <= 8; }

std::int32_t as_signed(std::uint32_t value) { return static_cast<std::int32_t>(value); }

/// What a stream says before its first chunk.
struct Start {
  unsigned word = 8;  ///< bytes, of the toolstack
  std::uint64_t p2m_size = 0;
  bool pv = false;
  unsigned width = 8;  ///< bytes, of a PV guest's words
  bool extended = false, xsave = false;
};

/// Walks a stream; what it holds goes to a SavedGuest.
class Walk {
 public:
  Walk(const ByteSource& source, FileOffset begin)
      : cursor_(source, FileRange::between(begin, {source.size()}), std::endian::little) {}

  void read_start(SavedGuest& guest) {
    std::array<std::byte, 64> head{};
    const auto present = std::span(head).first(std::min<std::uint64_t>(cursor_.remaining(), 64));
    cursor_.peek_bytes(present);
    start_.word = word_size(present);
    start_.p2m_size = word("p2m size");
    if (start_.p2m_size == 0 || start_.p2m_size > kMostPages)
      cursor_.fail("p2m size", "is " + std::to_string(start_.p2m_size));
    start_.pv = !hvm_follows();
    if (start_.pv) {
      start_.width = start_.word;
      read_blocks();
      read_frame_list();
    }
    guest.pv = start_.pv;
    guest.width = start_.width;
  }

  /// Chunks up to the end mark, and the tail. @returns true if there may be another round
  bool read_round(SavedGuest& guest) {
    for (;;) {
      const std::int32_t chunk = as_signed(cursor_.read<std::uint32_t>("chunk type"));
      if (chunk == kEnd) break;
      read_chunk(chunk, guest);
    }
    start_.pv ? read_pv_tail(guest) : read_hvm_tail(guest);
    if (last_) return false;
    const auto more = cursor_.peek<std::uint32_t>();
    return more && as_signed(*more) != 0 && is_chunk(as_signed(*more));
  }

 private:
  /// A 64-bit toolstack's p2m size has zeros in its upper half. Of a 32-bit one, ~0 or a chunk's
  /// type or a frame number follows.
  static unsigned word_size(std::span<const std::byte> head) {
    return head.size() >= 8 && load<std::uint32_t>(head.subspan(4), std::endian::little) != 0 ? 4
                                                                                              : 8;
  }

  std::uint64_t word(std::string_view field) {
    return start_.word == 8 ? cursor_.read<std::uint64_t>(field)
                            : cursor_.read<std::uint32_t>(field);
  }

  bool extended_info_follows() {
    return start_.word == 8 ? cursor_.peek<std::uint64_t>() == ~std::uint64_t{0}
                            : cursor_.peek<std::uint32_t>() == 0xffffffff;
  }

  /// After the p2m size an HVM stream has its first chunk, a PV one frame numbers or ~0.
  bool hvm_follows() {
    if (extended_info_follows()) return false;
    const auto first = cursor_.peek<std::uint32_t>();
    if (!first || !is_chunk(as_signed(*first)) || *first == 0) return false;
    if (as_signed(*first) < 0) return true;
    // A batch: each of its words is of a page below the p2m size.
    std::vector<std::byte> bytes(4 + std::uint64_t{*first} * start_.word);
    if (!cursor_.peek_bytes(bytes)) return false;
    for (std::uint32_t i = 0; i < *first; ++i) {
      const auto at = std::span(bytes).subspan(4 + std::size_t{i} * start_.word);
      const std::uint64_t value = start_.word == 8 ? load<std::uint64_t>(at, std::endian::little)
                                                   : load<std::uint32_t>(at, std::endian::little);
      if (value > 0xffffffff || (value & kPfnMask) >= start_.p2m_size ||
          is_reserved(static_cast<std::uint32_t>(value) >> kTypeShift)) {
        return false;
      }
    }
    return true;
  }

  void read_blocks() {
    if (!extended_info_follows()) return;
    word("mark");
    const auto size = cursor_.read<std::uint32_t>("extended info size");
    if (size > kLargestInfo)
      cursor_.fail("extended info size", "is " + std::to_string(size) + ", more than there can be");
    Cursor blocks(cursor_.source(), cursor_.take(size, "extended info"), std::endian::little);
    while (!blocks.at_end()) {
      const std::string id = blocks.read_text(4, "block id");
      const auto length = blocks.read<std::uint32_t>("block size");
      const FileRange data = blocks.take(length, "block");
      if (id == "vcpu") {
        if (length != kContext64 && length != kContext32)
          blocks.fail("block vcpu", "has " + std::to_string(length) + " bytes");
        start_.width = length == kContext32 ? 4 : 8;
      } else if (id == "extv") {
        start_.extended = true;
      } else if (id == "xcnt") {
        Cursor value(cursor_.source(), data, std::endian::little);
        start_.xsave = value.read<std::uint32_t>("block xcnt") != 0;
      }
    }
  }

  void read_frame_list() {
    const std::uint64_t per_frame = kPage / start_.width;
    const std::uint64_t frames = (start_.p2m_size - 1) / per_frame + 1;
    cursor_.take(frames * start_.word, "p2m frame list");
  }

  void read_chunk(std::int32_t chunk, SavedGuest& guest) {
    if (chunk > 0) return read_batch(chunk, guest);
    if (is_parameter(chunk)) {
      cursor_.take(12, "parameter");
    } else if (chunk == kVerify) {
      verifying_ = true;
    } else if (chunk == kVcpuInfo) {
      read_vcpu_info();
    } else if (chunk == kTsc) {
      cursor_.take(20, "TSC info");
    } else if (chunk == kLastCheckpoint) {
      last_ = true;
    } else if (chunk == kCompressed) {
      cursor_.fail("chunk type", "is that of compressed pages, which are not supported",
                   ErrorKind::unsupported);
    } else if (chunk == kToolstack) {
      cursor_.take(cursor_.read<std::uint32_t>("toolstack size"), "toolstack data");
    } else if (chunk != kEnableCompression) {
      cursor_.fail("chunk type", std::to_string(chunk) + " is not known");
    }
  }

  void read_batch(std::int32_t count, SavedGuest& guest) {
    if (count > kLargestBatch) cursor_.fail("chunk type", std::to_string(count) + " is not known");
    words_.clear();
    for (std::int32_t i = 0; i < count; ++i) {
      const std::uint64_t value = word("page word");
      if (value > 0xffffffff || is_reserved(static_cast<std::uint32_t>(value) >> kTypeShift))
        cursor_.fail("page word", hex(value) + " is of a type that there is not");
      words_.push_back(static_cast<std::uint32_t>(value));
    }
    for (const std::uint32_t value : words_) {
      // Those without a page mean nothing: unmapped pages are listed in the tail, and pfn 0 of this
      // kind fills up a batch.
      if (!has_page(value >> kTypeShift)) continue;
      const FileRange page = cursor_.take(kPage, "page");
      if (!verifying_) guest.pages.add(value & kPfnMask, page.begin());
    }
  }

  void read_vcpu_info() {
    const auto highest = cursor_.read<std::uint32_t>("highest vCPU");
    if (highest >= kMostVcpus)
      cursor_.fail("highest vCPU", "is " + std::to_string(highest) + ", more than a guest has");
    online_.assign(highest + 1, false);
    for (std::uint32_t i = 0; i <= highest; i += 64) {
      const auto bits = cursor_.read<std::uint64_t>("online vCPUs");
      for (std::uint32_t k = i; k < std::min(i + 64, highest + 1); ++k)
        online_[k] = (bits >> (k - i) & 1) != 0;
    }
  }

  void read_pv_tail(SavedGuest& guest) {
    const auto unmapped = cursor_.read<std::uint32_t>("unmapped page count");
    if (unmapped > cursor_.remaining() / start_.word)
      cursor_.fail("unmapped page count", "is more than the file can hold");
    for (std::uint32_t i = 0; i < unmapped; ++i) {
      const std::uint64_t pfn = word("unmapped pfn");
      if (pfn < kMostPages) guest.pages.drop(pfn);
    }
    guest.contexts.clear();
    for (std::uint32_t i = 0; i < online_.size(); ++i) {
      if (!online_[i]) continue;
      const std::uint64_t size = start_.width == 4 ? kContext32 : kContext64;
      guest.contexts[i] = cursor_.take(size, "registers").begin();
      if (start_.extended) cursor_.take(kExtended, "extended registers");
      if (!start_.xsave) continue;
      cursor_.read<std::uint64_t>("XSAVE mask");
      cursor_.take(cursor_.read<std::uint64_t>("XSAVE size"), "XSAVE data");
    }
    guest.shared_info = cursor_.take(kPage, "shared info page");
  }

  void read_hvm_tail(SavedGuest& guest) {
    cursor_.take(24, "special pages");
    const auto size = cursor_.read<std::uint32_t>("HVM context size");
    guest.hvm_context = cursor_.take(size, "HVM context");
  }

  Cursor cursor_;
  Start start_;
  std::vector<bool> online_{true};  ///< without a chunk that tells, there is vCPU 0
  std::vector<std::uint32_t> words_;
  bool verifying_ = false, last_ = false;
};

}  // namespace

bool is_legacy_stream(std::span<const std::byte> head) {
  constexpr std::size_t kNeeded = 32;
  if (head.size() < kNeeded) return false;
  const auto u32 = [&](std::size_t at) {
    return load<std::uint32_t>(head.subspan(at), std::endian::little);
  };
  const std::uint32_t p2m_size = u32(0);
  if (p2m_size == 0 || p2m_size > kMostPages) return false;
  // A 64-bit toolstack: u64 p2m_size, u64 ~0, u32 size, id; a 32-bit one: u32, u32 ~0, u32 size,
  // id.
  const bool wide = u32(4) == 0;
  const std::size_t mark = wide ? 8 : 4;
  const bool marked = u32(mark) == 0xffffffff && (!wide || u32(12) == 0xffffffff);
  if (!marked) return false;
  const std::size_t block = wide ? 20 : 12;
  const std::string_view id(reinterpret_cast<const char*>(head.data()) + block, 4);
  return id == "vcpu" || id == "extv" || id == "xcnt";
}

SavedGuest read_legacy_stream(const ByteSource& source, FileOffset begin, bool salvage,
                              Diagnostics& diagnostics) {
  // Once to see how many rounds are complete, once to use them.
  std::uint64_t rounds = 0;
  std::string error;
  {
    SavedGuest ignored;
    Walk walk(source, begin);
    walk.read_start(ignored);
    try {
      for (bool more = true; more; ++rounds) more = walk.read_round(ignored);
    } catch (const Error& caught) {
      if (caught.kind() != ErrorKind::corrupt || (rounds == 0 && !salvage)) throw;
      error = caught.what();
    }
  }
  SavedGuest guest;
  Walk walk(source, begin);
  walk.read_start(guest);
  for (std::uint64_t i = 0; i < rounds; ++i) walk.read_round(guest);
  guest.facts.push_back({"xen.stream", "legacy"});
  if (rounds > 1) guest.facts.push_back({"xen.checkpoints", std::to_string(rounds)});
  if (rounds == 0) {
    try {
      walk.read_round(guest);
    } catch (const Error& caught) {
      if (caught.kind() != ErrorKind::corrupt) throw;
    }
    std::string text = error + "; what follows is lost";
    if (guest.pages.replaced() != 0) text += ", and pages may be of different moments";
    diagnostics.loss("", std::nullopt, text);
  } else if (!error.empty()) {
    diagnostics.warn(source.name(), "the stream breaks off after checkpoint " +
                                        std::to_string(rounds) + ", which is what is converted");
  }
  return guest;
}

}  // namespace vmconvert::xen
