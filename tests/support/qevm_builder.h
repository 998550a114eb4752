#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "support/byte_writer.h"

namespace vmconvert::test {

/// A page's content that no other number gives: not zero, and not a repetition.
Bytes page_of(std::uint64_t number, std::size_t size = 4096);

/// A block in the list that begins the RAM section.
struct BlockEntry {
  std::string name;
  std::uint64_t length = 0;
  Bytes extra;  ///< what follows the length: huge page size, address
};

/// One payload of the section "ram". eos() ends it.
class RamPayload {
 public:
  explicit RamPayload(std::size_t page_size = 4096) : page_size_(page_size) {}

  RamPayload& blocks(const std::vector<BlockEntry>& entries);
  /// A page record that names its block.
  RamPayload& page(std::string_view block, std::uint64_t offset, std::uint64_t number);
  RamPayload& zero(std::string_view block, std::uint64_t offset, unsigned fill = 0);
  /// Records of the block named last.
  RamPayload& next_page(std::uint64_t offset, std::uint64_t number);
  RamPayload& next_zero(std::uint64_t offset, unsigned fill = 0);
  /// Pages `first_number`, ... at consecutive places.
  RamPayload& pages(std::string_view block, std::uint64_t offset, std::uint64_t first_number,
                    std::uint64_t count);
  /// A record word and what follows it, as they are.
  RamPayload& raw(std::uint64_t word, const Bytes& rest = {});
  RamPayload& eos() { return raw(0x10); }

  const Bytes& bytes() const { return out_.bytes(); }

 private:
  std::size_t page_size_;
  ByteWriter out_;
};

/// How a device's section is written and described.
struct DeviceOptions {
  std::uint32_t instance = 0;
  std::uint32_t version = 1;
  /// Size the description claims; -1: the true one.
  std::int64_t described = -1;
  /// Members of the description's object instead of one field: `"fields": [...]`.
  std::string description;
};

/// Writes a migration stream byte by byte.
class QevmBuilder {
 public:
  explicit QevmBuilder(bool footers = true) : footers_(footers) {}

  QevmBuilder& header(std::uint32_t version = 3);
  /// The configuration element; subsections follow it.
  QevmBuilder& configuration(std::string_view machine);
  QevmBuilder& configuration_subsection(std::string_view name, const Bytes& fields);
  QevmBuilder& target_page_bits(unsigned bits);
  QevmBuilder& capabilities(std::initializer_list<std::string_view> names);
  QevmBuilder& uuid();
  QevmBuilder& command(unsigned number, const Bytes& data = {});

  QevmBuilder& start(std::uint32_t id, std::string_view name, std::uint32_t version,
                     const Bytes& payload, std::uint32_t instance = 0);
  QevmBuilder& part(std::uint32_t id, const Bytes& payload);
  QevmBuilder& end(std::uint32_t id, const Bytes& payload);
  /// Section "ram", id 2.
  QevmBuilder& ram_start(const RamPayload& payload, std::uint32_t version = 4);
  QevmBuilder& ram_part(const RamPayload& payload) { return part(2, payload.bytes()); }
  QevmBuilder& ram_end(const RamPayload& payload) { return end(2, payload.bytes()); }
  /// START with this block list alone.
  QevmBuilder& ram_start(const std::vector<BlockEntry>& blocks);
  /// END without a record.
  QevmBuilder& ram_end();

  /// A whole device section, with the next free id.
  QevmBuilder& device(std::string_view name, const Bytes& payload,
                      const DeviceOptions& options = {});
  /// The end mark of the stream.
  QevmBuilder& eos();
  /// The description of all devices so far.
  QevmBuilder& description();
  QevmBuilder& description(std::string_view json);
  QevmBuilder& padding(std::size_t count, unsigned value = 0);
  QevmBuilder& raw(const Bytes& bytes);

  const Bytes& bytes() const { return out_.bytes(); }
  std::size_t size() const { return out_.size(); }

 private:
  void section(unsigned type, std::uint32_t id, std::string_view name, std::uint32_t instance,
               std::uint32_t version, const Bytes& payload);
  void footer(std::uint32_t id);

  bool footers_;
  ByteWriter out_;
  std::uint32_t next_id_ = 10;
  std::string devices_json_;
};

}  // namespace vmconvert::test
