#include "support/panic_builder.h"

namespace vmconvert::test {

std::uint64_t panic_register(unsigned vcpu, unsigned number) {
  return 0xffffffff80000000 + 0x100 * number + vcpu;
}

Bytes PanicFile::bytes() const {
  const auto begin_of_record = [&] {
    return version == 1 ? 21U : version == 6 ? 23U : version == 7 ? 16U : 22U;
  };
  ByteWriter out;
  out.le32(version).le32(vcpus).fill(begin_of_record() - 8, 0xee);
  std::uint64_t all = pages;
  for (const auto& hole : holes) all += hole.second;
  out.le64(last.value_or(all * 4096 - 1));
  const auto word = [&](std::uint64_t value) {
    if (version == 1) {
      out.le32(value);
    } else {
      out.le64(value);
    }
  };
  word(pages);
  out.le32(0xeeeeeeee).le32(hole_count.value_or(static_cast<std::uint32_t>(holes.size())));
  for (std::size_t i = 0; i < 2; ++i) {
    word(i < holes.size() ? holes[i].first : 0);
    word(i < holes.size() ? holes[i].second : 0);
  }
  if (version == 1) out.fill(8 * holes.size() + 4, 0xee);
  if (version == 7) out.le32(architecture).fill(7, 0xee);
  for (unsigned c = 0; c < vcpus; ++c) {
    out.le32(0x80050033).le64(0x1000 + c).le64(0x2000 + c).le64(0x3000 + c);
    out.fill(80, 0xee).le64(0xfffffe0000000000 + c).fill(version <= 3 ? 45 : 42, 0xee);
    for (unsigned i = 0; i < 27; ++i) out.le64(panic_register(c, i));
    out.fill(17, 0xee);
    if (apart) out.fill(4096, 0xee);
  }
  if (!apart) out.fill(4096 * vcpus, 0xee);
  return out.bytes();
}

}  // namespace vmconvert::test
