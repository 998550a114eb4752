#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>

#include "vmconvert/base/address.h"
#include "vmconvert/io/cursor.h"

namespace vmconvert::qemu {

/// What the stream's head says about the layout of the RAM section.
struct RamFormat {
  std::uint32_t page_size = 4096;  ///< target page, a power of two of at least 1024
  bool ignore_shared = false;      ///< capability x-ignore-shared
  bool mapped_ram = false;         ///< capability mapped-ram
};

/// One record of one page.
struct PageRecord {
  enum class Form {
    plain,       ///< `at`: the page
    filled,      ///< `fill`
    compressed,  ///< `at`: the record's be32 length
    delta,       ///< `at`: the record's encoding byte
  };
  Form form = Form::filled;
  std::size_t block = 0;     ///< index into the block list
  std::uint64_t offset = 0;  ///< in the block, a multiple of the page size and within it
  FileOffset at;
  std::byte fill{};
};

/// Reads the records of the section "ram" one after the other. Docs: docs/formats/qevm.md, "RAM".
class RamRecords {
 public:
  enum class Kind { page, block_list, end };

  explicit RamRecords(RamFormat format) : format_(format) {}
  RamRecords(const RamRecords&) = delete;
  RamRecords& operator=(const RamRecords&) = delete;

  /// Makes a block known. @returns false if one of this name is already
  bool add_block(const std::string& name, std::uint64_t length);

  /// Reads the next record. After a page it is page(); a block list is left to the caller, who
  /// finds the sum of all lengths in total().
  /// @throws Error(corrupt), Error(unsupported) for a record that no file can hold
  Kind next(Cursor& cursor);
  const PageRecord& page() const { return page_; }
  std::uint64_t total() const { return total_; }

 private:
  void read_page(Cursor& cursor, std::uint64_t offset, std::uint64_t flags);
  void select_block(Cursor& cursor);
  [[noreturn]] void refuse(Cursor& cursor, std::uint64_t flags) const;

  struct Block {
    std::size_t index = 0;
    std::uint64_t length = 0;
  };
  RamFormat format_;
  std::unordered_map<std::string, Block> blocks_;
  const std::pair<const std::string, Block>* current_ = nullptr;  ///< kept from payload to payload
  PageRecord page_;
  std::uint64_t total_ = 0;
};

}  // namespace vmconvert::qemu
