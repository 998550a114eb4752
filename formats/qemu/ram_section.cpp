#include "qemu/ram_section.h"

#include <bit>

#include "qemu/qevm_format.h"
#include "vmconvert/base/text.h"

namespace vmconvert::qemu {
namespace {

using namespace ram_flag;

constexpr std::uint64_t kKnownFlags = kFull | kZero | kMemSize | kPage | kEos | kContinue |
                                      kXbzrle | kHook | kCompressPage | kMultifdFlush;
constexpr std::uint64_t kSmallestHugePage = 64 * 1024;

/// Names an encoding that QEMU knows and this reader does not; nothing if there is none.
std::string_view unsupported_encoding(std::uint64_t kind) {
  if (kind == kXbzrle) return "a page as an XBZRLE delta (capability xbzrle)";
  if (kind == kCompressPage) return "a compressed page (capability compress)";
  if (kind == kHook) return "an RDMA record";
  if (kind == kFull) return "a record of a format last written in 2009";
  return "";
}

}  // namespace

void RamSection::read_payload(Cursor& cursor) {
  for (;;) {
    const auto word = cursor.read<std::uint64_t>("RAM record");
    const std::uint64_t flags = word & (format_.page_size - 1);
    const std::uint64_t offset = word - flags;
    const std::uint64_t kind = flags & ~kContinue;
    if (kind == kPage || kind == kZero) {
      read_page(cursor, offset, flags);
    } else if (flags == kEos) {
      return;
    } else if (flags == kMemSize) {
      read_block_list(cursor, offset);
    } else if (flags == kMultifdFlush) {
      continue;  // a synchronisation point without content
    } else if (const auto what = unsupported_encoding(kind); !what.empty()) {
      cursor.fail("RAM record", "holds " + std::string(what) + ", which is not supported",
                  ErrorKind::unsupported);
    } else {
      cursor.fail("RAM record", (flags & ~kKnownFlags) != 0 ? "has unknown flags " + hex(flags)
                                                            : "combines flags " + hex(flags));
    }
  }
}

void RamSection::read_block_list(Cursor& cursor, std::uint64_t total) {
  if (!blocks_.empty()) cursor.fail("RAM block list", "comes twice");
  std::uint64_t sum = 0;
  while (sum < total) {
    if (blocks_.size() == kMostBlocks) cursor.fail("RAM block list", "has too many blocks");
    const auto name_size = cursor.read<std::uint8_t>("RAM block name length");
    if (name_size == 0) cursor.fail("RAM block name length", "is zero");
    RamBlock block{.name = cursor.read_text(name_size, "RAM block name"),
                   .pages = RunListBuilder(format_.page_size)};
    block.used_length = cursor.read<std::uint64_t>("RAM block length");
    if (block.used_length > kLargestBlock || block.used_length > total - sum) {
      cursor.fail("RAM block length",
                  "is more than the sum of all blocks, " + hex(total) + ", allows");
    }
    if (block.used_length % format_.page_size != 0) {
      cursor.fail("RAM block length",
                  hex(block.used_length) + " is not a multiple of the page size");
    }
    sum += block.used_length;
    read_block_extras(cursor, block, sum == total);
    if (!by_name_.emplace(block.name, blocks_.size()).second) {
      cursor.fail("RAM block name", quoted(block.name) + " comes twice");
    }
    blocks_.push_back(std::move(block));
  }
}

/// A block whose host pages are huge is followed by that page size if postcopy was enabled, which
/// nothing else in the stream tells. The next byte decides: a name length is never zero, and after
/// the last block a record is never a power of two of 64 KiB or more, as it has no flags.
void RamSection::read_block_extras(Cursor& cursor, const RamBlock& block, bool last) {
  const auto next = cursor.peek<std::uint64_t>();
  const bool size_follows = next && std::has_single_bit(*next) && *next >= kSmallestHugePage &&
                            (last || (*next >> 56) == 0);
  if (size_follows && !format_.ignore_shared) cursor.read<std::uint64_t>("RAM block page size");
  if (format_.ignore_shared) {
    const auto address = cursor.read<std::uint64_t>("RAM block address");
    if (address % format_.page_size != 0) {
      cursor.fail("RAM block address", "of " + quoted(block.name) + " is not page-aligned");
    }
  }
}

void RamSection::select_block(Cursor& cursor) {
  const auto size = cursor.read<std::uint8_t>("page's block name length");
  const std::string name = cursor.read_text(size, "page's block name");
  const auto found = by_name_.find(name);
  if (found == by_name_.end())
    cursor.fail("page's block name", quoted(name) + " is not in the block list");
  current_ = found->second;
}

void RamSection::read_page(Cursor& cursor, std::uint64_t offset, std::uint64_t flags) {
  if ((flags & kContinue) == 0) {
    select_block(cursor);
  } else if (current_ == SIZE_MAX) {
    cursor.fail("RAM record", "continues a block, but none was named yet");
  }
  RamBlock& block = blocks_[current_];
  if (offset >= block.used_length) {
    cursor.fail("page", "at " + hex(offset) + " lies outside its block " + quoted(block.name) +
                            " of " + hex(block.used_length) + " bytes");
  }
  const auto guest = GuestRange::sized({offset}, format_.page_size);
  ++block.records;
  if ((flags & kZero) != 0) {
    block.pages.add({guest, Filled{std::byte{cursor.read<std::uint8_t>("fill byte of a page")}}});
  } else {
    const FileRange page = cursor.take(format_.page_size, "page content");
    block.pages.add({guest, InFile{.source = 0, .stride = format_.page_size, .at = page.begin()}});
  }
}

}  // namespace vmconvert::qemu
