#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "qemu/encoded_pages.h"
#include "qemu/mapped_ram.h"
#include "qemu/ram_records.h"
#include "vmconvert/io/cursor.h"
#include "vmconvert/model/run_list.h"

namespace vmconvert::qemu {

/// One RAMBlock of QEMU: guest RAM, video memory, a ROM.
struct RamBlock {
  std::string name;
  std::uint64_t used_length = 0;  ///< bytes
  std::uint64_t records = 0;      ///< page records seen, repeats included; pages of mapped-ram
  /// Where the records left each page; addresses are offsets in the block.
  RunListBuilder pages;
};

/// Pages that the stream does not hold as their bytes, and what is needed to decode them.
struct EncodedRam {
  EncodedPages slots;              ///< what the blocks' runs of kDecodedPages refer to
  std::vector<FileRange> records;  ///< where the page records lie, in the order of the stream
  std::uint64_t compressed = 0, deltas = 0;  ///< records of that form, repeats included
};

/// An encoded page that a block's runs refer to.
struct EncodedPage {
  std::size_t block = 0;     ///< index into the block list
  std::uint64_t offset = 0;  ///< in the block
  std::uint64_t slot = 0;
};

/// Gives the slots that runs of the blocks refer to new numbers, in the order of the blocks and
/// their pages, and drops the others.
/// @param keep  called for each page in that order; if it is false, the page has no run any more
/// @returns how many runs there are
std::uint64_t renumber_slots(std::vector<RamBlock>& blocks, EncodedPages& slots,
                             std::uint32_t page_size,
                             const std::function<bool(const EncodedPage& page)>& keep);

/// Parses the payloads of the live section "ram", version 4. Docs: docs/formats/qevm.md.
class RamSection {
 public:
  explicit RamSection(RamFormat format) : format_(format), reader_(format) {}

  /// One START, PART or END payload, up to and including its end mark.
  /// @throws Error(corrupt), Error(unsupported) for an encoding of pages that is not known
  void read_payload(Cursor& cursor);
  /// Adds the pages of mapped-ram, whose bitmaps QEMU writes last.
  void read_mapped_pages(const ByteSource& source, Diagnostics& diagnostics);
  /// False for what cannot be: firmware is there, and no page of the whole stream has content.
  bool is_plausible() const;

  std::vector<RamBlock>& blocks() { return blocks_; }
  EncodedRam& encoded() { return encoded_; }

 private:
  void read_block_list(Cursor& cursor, std::uint64_t total);
  void read_block(Cursor& cursor, std::uint64_t total, std::uint64_t& sum);
  void read_block_extras(Cursor& cursor, const RamBlock& block, bool last);
  void add_page(const PageRecord& record);
  InFile encoded_page(EncodedPages::Form form, FileOffset record);

  RamFormat format_;
  RamRecords reader_;
  std::vector<RamBlock> blocks_;
  std::vector<MappedBlock> mapped_;  ///< as long as blocks_, or empty
  EncodedRam encoded_;
  bool has_content_ = false;  ///< a page that is not filled with one byte was seen
  std::uint64_t renumber_at_ = 0;  ///< how many slots there have to be
};

}  // namespace vmconvert::qemu
