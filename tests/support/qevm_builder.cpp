#include "support/qevm_builder.h"

namespace vmconvert::test {

Bytes page_of(std::uint64_t number, std::size_t size) {
  // One seed per page; linear congruential (Knuth's MMIX constants), cheap enough for many pages.
  std::uint64_t state = number * 2 + 1;
  Bytes bytes(size);
  for (std::byte& b : bytes) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    b = static_cast<std::byte>(state >> 56);
  }
  return bytes;
}

RamPayload& RamPayload::blocks(const std::vector<BlockEntry>& entries) {
  std::uint64_t total = 0;
  for (const BlockEntry& entry : entries) total += entry.length;
  out_.be64(total | 0x04);
  for (const BlockEntry& entry : entries) {
    out_.counted_text(entry.name).be64(entry.length).append(entry.extra);
  }
  return *this;
}

RamPayload& RamPayload::page(std::string_view block, std::uint64_t offset, std::uint64_t number) {
  out_.be64(offset | 0x08).counted_text(block).append(page_of(number, page_size_));
  return *this;
}

RamPayload& RamPayload::zero(std::string_view block, std::uint64_t offset, unsigned fill) {
  out_.be64(offset | 0x02).counted_text(block).u8(fill);
  return *this;
}

RamPayload& RamPayload::next_page(std::uint64_t offset, std::uint64_t number) {
  out_.be64(offset | 0x28).append(page_of(number, page_size_));
  return *this;
}

RamPayload& RamPayload::next_zero(std::uint64_t offset, unsigned fill) {
  out_.be64(offset | 0x22).u8(fill);
  return *this;
}

RamPayload& RamPayload::pages(std::string_view block, std::uint64_t offset,
                              std::uint64_t first_number, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) {
    if (i == 0) {
      page(block, offset, first_number);
    } else {
      next_page(offset + i * page_size_, first_number + i);
    }
  }
  return *this;
}

RamPayload& RamPayload::raw(std::uint64_t word, const Bytes& rest) {
  out_.be64(word).append(rest);
  return *this;
}

QevmBuilder& QevmBuilder::header(std::uint32_t version) {
  out_.text("QEVM").be32(version);
  return *this;
}

QevmBuilder& QevmBuilder::configuration(std::string_view machine) {
  out_.u8(0x07).be32(machine.size()).text(machine);
  return *this;
}

QevmBuilder& QevmBuilder::configuration_subsection(std::string_view name, const Bytes& fields) {
  out_.u8(0x05).counted_text(name).be32(1).append(fields);
  return *this;
}

QevmBuilder& QevmBuilder::target_page_bits(unsigned bits) {
  return configuration_subsection("configuration/target-page-bits",
                                  ByteWriter().be32(bits).bytes());
}

QevmBuilder& QevmBuilder::capabilities(std::initializer_list<std::string_view> names) {
  ByteWriter fields;
  fields.be32(names.size());
  for (const std::string_view name : names) fields.counted_text(name);
  return configuration_subsection("configuration/capabilities", fields.bytes());
}

QevmBuilder& QevmBuilder::uuid() {
  return configuration_subsection("configuration/uuid", ByteWriter().fill(16, 0xa5).bytes());
}

QevmBuilder& QevmBuilder::command(unsigned number, const Bytes& data) {
  out_.u8(0x08).be16(number).be16(static_cast<unsigned>(data.size())).append(data);
  return *this;
}

void QevmBuilder::footer(std::uint32_t id) {
  if (footers_) out_.u8(0x7e).be32(id);
}

void QevmBuilder::section(unsigned type, std::uint32_t id, std::string_view name,
                          std::uint32_t instance, std::uint32_t version, const Bytes& payload) {
  out_.u8(type).be32(id).counted_text(name).be32(instance).be32(version).append(payload);
  footer(id);
}

QevmBuilder& QevmBuilder::start(std::uint32_t id, std::string_view name, std::uint32_t version,
                                const Bytes& payload, std::uint32_t instance) {
  section(0x01, id, name, instance, version, payload);
  return *this;
}

QevmBuilder& QevmBuilder::part(std::uint32_t id, const Bytes& payload) {
  out_.u8(0x02).be32(id).append(payload);
  footer(id);
  return *this;
}

QevmBuilder& QevmBuilder::end(std::uint32_t id, const Bytes& payload) {
  out_.u8(0x03).be32(id).append(payload);
  footer(id);
  return *this;
}

QevmBuilder& QevmBuilder::ram_start(const RamPayload& payload, std::uint32_t version) {
  return start(2, "ram", version, payload.bytes());
}

QevmBuilder& QevmBuilder::ram_start(const std::vector<BlockEntry>& blocks) {
  return ram_start(RamPayload().blocks(blocks).eos());
}

QevmBuilder& QevmBuilder::ram_end() { return ram_end(RamPayload().eos()); }

QevmBuilder& QevmBuilder::device(std::string_view name, const Bytes& payload,
                                 const DeviceOptions& options) {
  section(0x04, next_id_++, name, options.instance, options.version, payload);
  const std::int64_t size =
      options.described >= 0 ? options.described : static_cast<std::int64_t>(payload.size());
  const std::string members = !options.description.empty()
                                  ? options.description
                                  : R"("fields": [{"name": "data", "type": "buffer", "size": )" +
                                        std::to_string(size) + "}]";
  devices_json_ += (devices_json_.empty() ? "" : ", ") + std::string(R"({"name": ")") +
                   std::string(name) + R"(", "instance_id": )" + std::to_string(options.instance) +
                   R"(, "vmsd_name": "x", "version": )" + std::to_string(options.version) + ", " +
                   members + "}";
  return *this;
}

QevmBuilder& QevmBuilder::eos() {
  out_.u8(0x00);
  return *this;
}

QevmBuilder& QevmBuilder::description() {
  return description(R"({"page_size": 4096, "devices": [)" + devices_json_ + "]}");
}

QevmBuilder& QevmBuilder::description(std::string_view json) {
  out_.u8(0x06).be32(json.size()).text(json);
  return *this;
}

QevmBuilder& QevmBuilder::padding(std::size_t count, unsigned value) {
  out_.fill(count, value);
  return *this;
}

QevmBuilder& QevmBuilder::raw(const Bytes& bytes) {
  out_.append(bytes);
  return *this;
}

}  // namespace vmconvert::test
