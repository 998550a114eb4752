#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "vmconvert/io/cursor.h"
#include "vmconvert/model/run_list.h"

namespace vmconvert::qemu {

/// One RAMBlock of QEMU: guest RAM, video memory, a ROM.
struct RamBlock {
  std::string name;
  std::uint64_t used_length = 0;  ///< bytes
  std::uint64_t records = 0;      ///< page records seen, repeats included
  /// Where the records left each page; addresses are offsets in the block.
  RunListBuilder pages;
};

/// What the stream's head says about the layout of the RAM section.
struct RamFormat {
  std::uint32_t page_size = 4096;  ///< target page, a power of two of at least 1024
  bool ignore_shared = false;      ///< capability x-ignore-shared
};

/// Parses the payloads of the live section "ram", version 4. Docs: docs/formats/qevm.md.
class RamSection {
 public:
  explicit RamSection(RamFormat format) : format_(format) {}

  /// One START, PART or END payload, up to and including its end mark.
  /// @throws Error(corrupt), Error(unsupported) for an encoding of pages that is not known
  void read_payload(Cursor& cursor);

  std::vector<RamBlock>& blocks() { return blocks_; }

 private:
  void read_block_list(Cursor& cursor, std::uint64_t total);
  void read_block_extras(Cursor& cursor, const RamBlock& block, bool last);
  void read_page(Cursor& cursor, std::uint64_t offset, std::uint64_t flags);
  void select_block(Cursor& cursor);

  RamFormat format_;
  std::vector<RamBlock> blocks_;
  std::unordered_map<std::string, std::size_t> by_name_;
  std::size_t current_ = SIZE_MAX;  ///< persists from payload to payload
};

}  // namespace vmconvert::qemu
