#include "qemu/ram_records.h"

#include <string>

#include "qemu/encoded_pages.h"
#include "qemu/qevm_format.h"
#include "vmconvert/base/text.h"

namespace vmconvert::qemu {
namespace {

using namespace ram_flag;

constexpr std::uint64_t kKnownFlags = kFull | kZero | kMemSize | kPage | kEos | kContinue |
                                      kXbzrle | kHook | kCompressPage | kMultifdFlush;

bool is_page(std::uint64_t kind) {
  return kind == kPage || kind == kZero || kind == kXbzrle || kind == kCompressPage;
}

}  // namespace

bool RamRecords::add_block(const std::string& name, std::uint64_t length) {
  return blocks_.emplace(name, Block{blocks_.size(), length}).second;
}

RamRecords::Kind RamRecords::next(Cursor& cursor) {
  const auto word = cursor.read<std::uint64_t>("RAM record");
  const std::uint64_t flags = word & (format_.page_size - 1);
  if (flags == kEos) return Kind::end;
  if (flags == kMemSize) {
    total_ = word - flags;
    return Kind::block_list;
  }
  if (!is_page(flags & ~kContinue)) refuse(cursor, flags);
  if (format_.mapped_ram) cursor.fail("RAM record", "holds a page, which mapped-ram has elsewhere");
  read_page(cursor, word - flags, flags);
  return Kind::page;
}

void RamRecords::refuse(Cursor& cursor, std::uint64_t flags) const {
  const auto unsupported = [&](const std::string& what) {
    cursor.fail("RAM record", "holds " + what, ErrorKind::unsupported);
  };
  const std::uint64_t kind = flags & ~kContinue;
  if (kind == kHook) unsupported("an RDMA record, which is not supported");
  if (kind == kFull)
    unsupported("a record of a format last written in 2009, which is not supported");
  if (flags == kMultifdFlush) {
    unsupported("a mark of a multifd migration, whose pages went through other connections");
  }
  cursor.fail("RAM record", (flags & ~kKnownFlags) != 0 ? "has unknown flags " + hex(flags)
                                                        : "combines flags " + hex(flags));
}

void RamRecords::select_block(Cursor& cursor) {
  const auto size = cursor.read<std::uint8_t>("page's block name length");
  const std::string name = cursor.read_text(size, "page's block name");
  const auto found = blocks_.find(name);
  if (found == blocks_.end())
    cursor.fail("page's block name", quoted(name) + " is not in the block list");
  current_ = &*found;
}

void RamRecords::read_page(Cursor& cursor, std::uint64_t offset, std::uint64_t flags) {
  if ((flags & kContinue) == 0) {
    select_block(cursor);
  } else if (current_ == nullptr) {
    cursor.fail("RAM record", "continues a block, but none was named yet");
  }
  const auto& [name, block] = *current_;
  if (offset >= block.length) {
    cursor.fail("page", "at " + hex(offset) + " lies outside its block " + quoted(name) + " of " +
                            hex(block.length) + " bytes");
  }
  page_.block = block.index;
  page_.offset = offset;
  page_.at = cursor.position();
  switch (flags & ~kContinue) {
    case kZero:
      page_.form = PageRecord::Form::filled;
      page_.fill = std::byte{cursor.read<std::uint8_t>("fill byte of a page")};
      break;
    case kPage:
      page_.form = PageRecord::Form::plain;
      cursor.take(format_.page_size, "page content");
      break;
    case kCompressPage:
      page_.form = PageRecord::Form::compressed;
      cursor.take(read_compressed_length(cursor, format_.page_size), "compressed page");
      break;
    default:
      page_.form = PageRecord::Form::delta;
      cursor.take(read_delta_length(cursor, format_.page_size), "delta");
  }
}

}  // namespace vmconvert::qemu
