#include "halves.h"

#include <algorithm>

#include "conversion.h"
#include "support/memory_folder.h"
#include "vmconvert/base/packed.h"

namespace vmconvert::test {

void convert_hostile_halves(const Format& state, const char* extension, const Format& memory,
                            const std::uint8_t* data, std::size_t size) {
  if (size < 4) return;
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto both = bytes.subspan(4);
  const std::size_t wanted = load<std::uint32_t>(bytes, std::endian::little);
  const std::size_t first = std::min(wanted, both.size());
  const auto copy = [](std::span<const std::byte> part) { return Bytes(part.begin(), part.end()); };
  const auto folder = std::make_shared<MemoryFolder>(
      std::map<std::string, Bytes>{{std::string("input") + extension, copy(both.first(first))},
                                   {"input.vmem", copy(both.subspan(first))}});
  convert_hostile(state, data + 4, first, folder);
  convert_hostile(memory, data + 4 + first, both.size() - first, folder);
}

}  // namespace vmconvert::test
