#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "support/byte_writer.h"

namespace vmconvert::test {

/// A kernel's type information in little. Written from Linux's Documentation/bpf/btf.rst.
class BtfBuilder {
 public:
  struct Member {
    std::string name;  ///< "": anonymous
    std::uint32_t type = 0;
    std::uint32_t offset = 0;  ///< bytes
  };

  /// @returns its type's number
  std::uint32_t add_int(std::string_view name, std::uint32_t size) {
    types_.le32(string(name)).le32(1U << 24).le32(size).le32(size * 8);
    return ++count_;
  }
  std::uint32_t add_struct(std::string_view name, std::uint32_t size,
                           const std::vector<Member>& members, bool is_union = false) {
    types_.le32(string(name)).le32((is_union ? 5U : 4U) << 24 | members.size()).le32(size);
    for (const Member& member : members)
      types_.le32(string(member.name)).le32(member.type).le32(member.offset * 8);
    return ++count_;
  }

  Bytes bytes() {
    // The kernel's are never so small that they might be something else.
    while (types_.size() < 1024) add_int("filler_" + std::to_string(count_), 4);
    while (strings_.size() < 1024) string("more_" + std::to_string(strings_.size()));
    ByteWriter all;
    all.le16(0xeb9f)
        .u8(1)
        .u8(0)
        .le32(24)
        .le32(0)
        .le32(types_.size())
        .le32(types_.size())
        .le32(strings_.size());
    return all.append(types_.bytes()).append(strings_.bytes()).bytes();
  }

 private:
  std::size_t string(std::string_view text) {
    if (text.empty()) return 0;
    const std::size_t at = strings_.size();
    strings_.text(text).u8(0);
    return at;
  }

  ByteWriter types_, strings_ = ByteWriter().u8(0);
  std::uint32_t count_ = 0;
};

}  // namespace vmconvert::test
