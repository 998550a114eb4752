#include "support/elf_builder.h"

namespace vmconvert::test {

void put(Bytes& to, std::uint64_t value, unsigned size, bool big) {
  for (unsigned i = 0; i < size; ++i) {
    to.push_back(static_cast<std::byte>(value >> (8 * (big ? size - 1 - i : i))));
  }
}

Bytes elf_note(std::string_view name, std::uint32_t type, std::span<const std::byte> desc,
               bool big) {
  Bytes note;
  put(note, name.size() + 1, 4, big);
  put(note, desc.size(), 4, big);
  put(note, type, 4, big);
  for (const char c : name) note.push_back(static_cast<std::byte>(c));
  note.push_back({});
  while (note.size() % 4 != 0) note.push_back({});
  note.insert(note.end(), desc.begin(), desc.end());
  while (note.size() % 4 != 0) note.push_back({});
  return note;
}

std::uint64_t ElfDump::notes_at() const {
  const std::uint64_t header = is_64 ? 64 : 52, program = is_64 ? 56 : 32,
                      section = is_64 ? 64 : 40;
  return header + (loads.size() + 1) * program + (many ? section : 0);
}

Bytes ElfDump::bytes() const {
  const unsigned word = is_64 ? 8 : 4, program = is_64 ? 56 : 32, header = is_64 ? 64 : 52;
  const std::uint64_t count = loads.size() + 1;
  Bytes out = from_hex("7f 45 4c 46");
  const auto number = [&](std::uint64_t value, unsigned size) { put(out, value, size, big); };
  number(is_64 ? 2 : 1, 1);
  number(big ? 2 : 1, 1);
  number(1, 1);
  out.resize(16);
  number(type, 2);
  number(machine, 2);
  number(1, 4);
  number(0, word);
  number(header, word);
  number(many ? header + count * program : 0, word);
  number(0, 4);
  number(ehsize, 2);
  number(phentsize.value_or(program), 2);
  number(many ? 0xffff : phnum.value_or(static_cast<unsigned>(count)), 2);
  number(many ? (is_64 ? 64 : 40) : 0, 2);
  number(many ? 1 : 0, 2);
  number(0, 2);
  const auto segment = [&](unsigned p_type, std::uint64_t offset, const ElfLoad& load,
                           std::uint64_t size) {
    number(p_type, 4);
    if (is_64) number(0, 4);
    number(load.offset.value_or(offset), word);
    number(load.vaddr, word);
    number(load.paddr, word);
    number(load.filesz.value_or(size), word);
    number(load.memsz.value_or(load.filesz.value_or(size)), word);
    if (!is_64) number(0, 4);
    number(0, word);
  };
  segment(4, notes_at(), {}, notes.size());
  std::uint64_t at = content_at();
  for (const ElfLoad& load : loads) {
    segment(1, at, load, load.content.size());
    at += load.content.size();
  }
  if (many) {
    const std::size_t section = out.size();
    out.resize(section + (is_64 ? 44 : 28));
    number(count, 4);
    out.resize(section + (is_64 ? 64 : 40));
  }
  out.insert(out.end(), notes.begin(), notes.end());
  for (const ElfLoad& load : loads) out.insert(out.end(), load.content.begin(), load.content.end());
  return out;
}

}  // namespace vmconvert::test
