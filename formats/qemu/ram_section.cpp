#include "qemu/ram_section.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "qemu/qevm_format.h"
#include "vmconvert/base/text.h"

namespace vmconvert::qemu {
namespace {

constexpr std::uint64_t kSmallestHugePage = 64 * 1024;
// Slots of pages that were sent again are dropped when there are this many, and as many as are in
// use, and as runs that have to be gone through: O(1) for each record.
constexpr std::uint64_t kFewestSlots = 1024 * 1024;

}  // namespace

std::uint64_t renumber_slots(std::vector<RamBlock>& blocks, EncodedPages& slots,
                             std::uint32_t page_size,
                             const std::function<bool(const EncodedPage& page)>& keep) {
  EncodedPages kept;
  std::uint64_t run_count = 0;
  for (std::size_t index = 0; index < blocks.size(); ++index) {
    RamBlock& block = blocks[index];
    const RunList runs = block.pages.finish();
    run_count += runs.runs().size();
    for (const Run& run : runs) {
      const auto* file = std::get_if<InFile>(&run.backing);
      if (file == nullptr || file->source != kDecodedPages) {
        block.pages.add(run);
        continue;
      }
      for (std::uint64_t i = 0; i < run.guest.size() / page_size; ++i) {
        const GuestPhysAddr at = run.guest.begin() + i * page_size;
        const std::uint64_t slot = (file->at.value + i * file->stride) / page_size;
        if (!keep({index, at.value, slot})) continue;
        const std::uint64_t number = kept.add(slots.at(slot));
        block.pages.add({GuestRange::sized(at, page_size),
                         InFile{kDecodedPages, page_size, {number * page_size}}});
      }
    }
  }
  slots = std::move(kept);
  return run_count;
}

void RamSection::read_payload(Cursor& cursor) {
  encoded_.records.push_back(FileRange::sized(cursor.position(), 0));
  for (;;) {
    switch (reader_.next(cursor)) {
      case RamRecords::Kind::page:
        add_page(reader_.page());
        // Grows record by record, so that it ends before damage.
        encoded_.records.back() =
            FileRange::between(encoded_.records.back().begin(), cursor.position());
        break;
      case RamRecords::Kind::block_list:
        read_block_list(cursor, reader_.total());
        encoded_.records.back() = FileRange::sized(cursor.position(), 0);
        break;
      case RamRecords::Kind::end:
        if (encoded_.records.back().empty()) encoded_.records.pop_back();
        return;
    }
  }
}

void RamSection::read_block_list(Cursor& cursor, std::uint64_t total) {
  if (!blocks_.empty()) cursor.fail("RAM block list", "comes twice");
  for (std::uint64_t sum = 0; sum < total;) read_block(cursor, total, sum);
}

void RamSection::read_block(Cursor& cursor, std::uint64_t total, std::uint64_t& sum) {
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
    cursor.fail("RAM block length", hex(block.used_length) + " is not a multiple of the page size");
  }
  sum += block.used_length;
  read_block_extras(cursor, block, sum == total);
  if (!reader_.add_block(block.name, block.used_length)) {
    cursor.fail("RAM block name", quoted(block.name) + " comes twice");
  }
  if (format_.mapped_ram) {
    mapped_.push_back(read_mapped_header(cursor, format_.page_size, block.used_length));
  }
  blocks_.push_back(std::move(block));
  if (!format_.mapped_ram) return;
  // The block is known even if the file ends before its pages do.
  const FileRange& pages = mapped_.back().pages;
  cursor.seek(std::min(pages.begin(), cursor.end()), "mapped-ram pages");
  cursor.take(pages.size(), "mapped-ram pages");
}

/// A block whose host pages are huge is followed by that page size if postcopy was enabled, which
/// nothing else in the stream tells. The next byte decides: a name length is never zero, and after
/// the last block a record is never a power of two of 64 KiB or more, as it has no flags. QEMU does
/// not allow postcopy together with mapped-ram, whose header looks like such a size.
void RamSection::read_block_extras(Cursor& cursor, const RamBlock& block, bool last) {
  const auto next = cursor.peek<std::uint64_t>();
  const bool size_follows = next && std::has_single_bit(*next) && *next >= kSmallestHugePage &&
                            (last || (*next >> 56) == 0) && !format_.mapped_ram;
  if (size_follows && !format_.ignore_shared) cursor.read<std::uint64_t>("RAM block page size");
  if (format_.ignore_shared) {
    const auto address = cursor.read<std::uint64_t>("RAM block address");
    if (address % format_.page_size != 0) {
      cursor.fail("RAM block address", "of " + quoted(block.name) + " is not page-aligned");
    }
  }
}

void RamSection::add_page(const PageRecord& record) {
  RamBlock& block = blocks_[record.block];
  const auto guest = GuestRange::sized({record.offset}, format_.page_size);
  ++block.records;
  has_content_ = has_content_ || record.form != PageRecord::Form::filled;
  switch (record.form) {
    case PageRecord::Form::plain:
      block.pages.add({guest, InFile{0, format_.page_size, record.at}});
      break;
    case PageRecord::Form::filled:
      block.pages.add({guest, Filled{record.fill}});
      break;
    case PageRecord::Form::compressed:
      ++encoded_.compressed;
      block.pages.add({guest, encoded_page(EncodedPages::Form::compressed, record.at)});
      break;
    case PageRecord::Form::delta:
      ++encoded_.deltas;
      block.pages.add({guest, encoded_page(EncodedPages::Form::delta, record.at)});
      break;
  }
}

InFile RamSection::encoded_page(EncodedPages::Form form, FileOffset record) {
  if (encoded_.slots.size() >= std::max(renumber_at_, kFewestSlots)) {
    const std::uint64_t runs = renumber_slots(blocks_, encoded_.slots, format_.page_size,
                                              [](const EncodedPage&) { return true; });
    const std::uint64_t used = encoded_.slots.size();
    renumber_at_ = used + std::max({used, runs, kFewestSlots});
  }
  const std::uint64_t slot = encoded_.slots.add({form, record.value});
  return {kDecodedPages, format_.page_size, {slot * format_.page_size}};
}

bool RamSection::is_plausible() const {
  if (has_content_ || !mapped_.empty() || format_.ignore_shared) return true;
  return std::none_of(blocks_.begin(), blocks_.end(), [](const RamBlock& block) {
    return block.name == "pc.bios" || block.name.find(".flash0") != std::string::npos ||
           block.name.starts_with("/rom@");
  });
}

void RamSection::read_mapped_pages(const ByteSource& source, Diagnostics& diagnostics) {
  if (mapped_.empty()) return;
  const std::endian order = bitmap_order(source, mapped_, format_.page_size);
  std::uint64_t pages = 0, present = 0;
  for (std::size_t i = 0; i < mapped_.size() && i < blocks_.size(); ++i) {
    blocks_[i].records =
        add_mapped_pages(source, mapped_[i], order, format_.page_size, blocks_[i].pages);
    present += blocks_[i].records;
    pages += blocks_[i].used_length / format_.page_size;
  }
  diagnostics.decision(source.name(), "mapped-ram: " + counted(present, "page") + " of " +
                                          std::to_string(pages) + " in the file, bitmaps of a " +
                                          (order == std::endian::little ? "little" : "big") +
                                          "-endian host");
}

}  // namespace vmconvert::qemu
