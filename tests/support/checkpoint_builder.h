#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "support/byte_writer.h"

namespace vmconvert::test {

/// Builds a VMware checkpoint (.vmss, .vmsn) by docs/formats/vmware.md: groups of tags, in order.
class CheckpointBuilder {
 public:
  using Indices = std::vector<std::uint32_t>;

  std::uint32_t magic = 0xbed2bed2;
  std::uint32_t version = 8;
  unsigned word_size = 8;                      ///< of the sizes of blocks
  std::optional<std::uint32_t> group_count{};  ///< if not the true one

  /// Begins a group; tags go to the one begun last.
  CheckpointBuilder& group(std::string_view name);
  /// A tag with a value of `size` bytes, 0 to 61; those beyond the eighth are zero.
  CheckpointBuilder& number(std::string_view name, Indices indices, std::uint64_t value,
                            unsigned size = 4);
  CheckpointBuilder& value(std::string_view name, Indices indices, const Bytes& bytes);

  struct Block {
    unsigned padding = 0;    ///< bytes before the data
    unsigned alignment = 1;  ///< of the data in the file, by padding
    bool compressed = false;
    std::optional<std::uint64_t> stored_size{};  ///< if not the true one
    std::optional<std::uint64_t> memory_size{};  ///< if not the stored one
  };
  CheckpointBuilder& block(std::string_view name, Indices indices, const Bytes& bytes,
                           const Block& how);
  CheckpointBuilder& block(std::string_view name, Indices indices, const Bytes& bytes) {
    return block(name, std::move(indices), bytes, Block());
  }
  /// Bytes as they are, in place of a tag.
  CheckpointBuilder& raw(const Bytes& bytes);
  /// Leaves out the mark that ends the group begun last.
  CheckpointBuilder& unterminated();
  /// Lets the row of the group begun last point elsewhere.
  CheckpointBuilder& at(std::uint64_t offset);

  /// regionsCount, and for each region regionPageNum, regionPPN and regionSize.
  struct Region {
    std::uint64_t page_num, ppn, pages;
  };
  CheckpointBuilder& regions(const std::vector<Region>& regions, unsigned size = 4);

  Bytes bytes() const;

 private:
  struct Part {
    Bytes head;  ///< up to the padding's length of a block
    bool is_block = false;
    unsigned padding = 0, alignment = 1;
    Bytes data{};
  };
  struct Group {
    std::string name;
    std::vector<Part> parts{};
    bool terminated = true;
    std::optional<std::uint64_t> at{};
  };
  static ByteWriter tag(unsigned code, std::string_view name, const Indices& indices);

  std::vector<Group> groups_;
};

}  // namespace vmconvert::test
