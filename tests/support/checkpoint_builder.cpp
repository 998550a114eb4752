#include "support/checkpoint_builder.h"

namespace vmconvert::test {

ByteWriter CheckpointBuilder::tag(unsigned code, std::string_view name, const Indices& indices) {
  ByteWriter out;
  out.u8(static_cast<unsigned>(indices.size()) << 6 | code).counted_text(name);
  for (const std::uint32_t index : indices) out.le32(index);
  return out;
}

CheckpointBuilder& CheckpointBuilder::group(std::string_view name) {
  groups_.push_back({std::string(name)});
  return *this;
}

CheckpointBuilder& CheckpointBuilder::number(std::string_view name, Indices indices,
                                             std::uint64_t value, unsigned size) {
  Bytes bytes(size);
  for (unsigned i = 0; i < size && i < 8; ++i) bytes[i] = static_cast<std::byte>(value >> (8 * i));
  return this->value(name, std::move(indices), bytes);
}

CheckpointBuilder& CheckpointBuilder::value(std::string_view name, Indices indices,
                                            const Bytes& bytes) {
  ByteWriter out = tag(static_cast<unsigned>(bytes.size()), name, indices);
  return raw(out.append(bytes).bytes());
}

CheckpointBuilder& CheckpointBuilder::block(std::string_view name, Indices indices,
                                            const Bytes& bytes, const Block& how) {
  ByteWriter out = tag(how.compressed ? 0x3e : 0x3f, name, indices);
  const std::uint64_t stored = how.stored_size.value_or(bytes.size());
  for (const std::uint64_t size : {stored, how.memory_size.value_or(stored)}) {
    if (word_size == 4) {
      out.le32(size);
    } else {
      out.le64(size);
    }
  }
  groups_.back().parts.push_back({out.bytes(), true, how.padding, how.alignment, bytes});
  return *this;
}

CheckpointBuilder& CheckpointBuilder::raw(const Bytes& bytes) {
  groups_.back().parts.push_back({bytes});
  return *this;
}

CheckpointBuilder& CheckpointBuilder::unterminated() {
  groups_.back().terminated = false;
  return *this;
}

CheckpointBuilder& CheckpointBuilder::at(std::uint64_t offset) {
  groups_.back().at = offset;
  return *this;
}

CheckpointBuilder& CheckpointBuilder::regions(const std::vector<Region>& regions, unsigned size) {
  number("regionsCount", {}, regions.size());
  for (std::uint32_t i = 0; i < regions.size(); ++i) {
    number("regionPageNum", {i}, regions[i].page_num, size);
    number("regionPPN", {i}, regions[i].ppn, size);
    number("regionSize", {i}, regions[i].pages, size);
  }
  return *this;
}

Bytes CheckpointBuilder::bytes() const {
  const std::size_t table_end = 12 + 80 * groups_.size();
  ByteWriter rows, tags;
  const auto here = [&] { return table_end + tags.size(); };
  for (const Group& group : groups_) {
    const std::size_t begin = here();
    for (const Part& part : group.parts) {
      tags.append(part.head);
      if (!part.is_block) continue;
      const std::size_t data = here() + 2 + part.padding;
      const unsigned extra =
          static_cast<unsigned>((part.alignment - data % part.alignment) % part.alignment);
      tags.le16(part.padding + extra).fill(part.padding + extra).append(part.data);
    }
    if (group.terminated) tags.fill(2);
    rows.text(group.name).fill(64 - group.name.size());
    rows.le64(group.at.value_or(begin)).le64(here() - begin);
  }
  ByteWriter out;
  out.le32(magic).le32(version).le32(group_count.value_or(groups_.size()));
  return out.append(rows.bytes()).append(tags.bytes()).bytes();
}

}  // namespace vmconvert::test
