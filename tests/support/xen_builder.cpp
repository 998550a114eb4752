#include "support/xen_builder.h"

#include <algorithm>

#include "support/elf_builder.h"
#include "support/qevm_builder.h"

namespace vmconvert::test {
namespace {

void pad_to(ByteWriter& out, std::size_t alignment) {
  out.fill((alignment - out.size() % alignment) % alignment);
}

Bytes le(std::uint64_t value, unsigned size) {
  Bytes bytes;
  put(bytes, value, size, false);
  return bytes;
}

void set(Bytes& bytes, std::size_t at, std::uint64_t value, unsigned size = 8) {
  overwrite(bytes, at, le(value, size));
}

Bytes version_note() {
  ByteWriter out;
  const auto text = [&](std::string_view value, std::size_t size) {
    out.text(value).fill(size - value.size());
  };
  out.le64(4).le64(17);
  text(".7", 16);
  text("gcc 12", 64);
  text("somebody", 16);
  text("example.org", 32);
  text("Wed Nov  4 16:52:28 UTC 2026", 32);
  text("xen-3.0-x86_64 hvm-3.0-x86_32 ", 1024);
  text("abcdef", 64);
  out.le64(0xffff800000000000).le64(4096);
  return out.bytes();
}

struct Section {
  std::string name;
  unsigned type = 1;
  Bytes content;
  std::uint64_t entsize = 0, align = 0;
};

}  // namespace

void overwrite(Bytes& bytes, std::size_t at, std::span<const std::byte> patch) {
  std::copy(patch.begin(), patch.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
}

Bytes XenContext::wide() const {
  Bytes bytes(5168, std::byte{0xee});
  set(bytes, 512, flags);
  // r15 to r8 but for rbp and rbx, which come between r12 and r11
  const std::size_t places[] = {520, 528, 536, 544, 568, 576, 584, 592};
  for (unsigned i = 0; i < 8; ++i) set(bytes, places[i], 15 - i);
  set(bytes, 552, 0xbb), set(bytes, 560, 0xb);
  set(bytes, 600, rax), set(bytes, 608, 0xc), set(bytes, 616, 0xd);
  set(bytes, 624, 0x51), set(bytes, 632, 0xd1);
  set(bytes, 648, rip), set(bytes, 656, cs, 2), set(bytes, 664, rflags), set(bytes, 672, rsp);
  set(bytes, 680, ss, 2), set(bytes, 688, 0xe5, 2), set(bytes, 696, 0xd5, 2);
  set(bytes, 704, 0xf5, 2), set(bytes, 712, 0x65, 2);
  set(bytes, 4984, cr0), set(bytes, 4992, user_root), set(bytes, 5000, cr2);
  set(bytes, 5008, cr3), set(bytes, 5016, cr4);
  set(bytes, 5144, fs_base), set(bytes, 5152, gs_base_kernel), set(bytes, 5160, gs_base_user);
  return bytes;
}

Bytes XenContext::narrow() const {
  Bytes bytes(2800, std::byte{0xee});
  set(bytes, 512, flags, 4);
  const std::uint64_t general[] = {0xb, 0xc, 0xd, 0x51, 0xd1, 0xbb, rax};
  for (unsigned i = 0; i < 7; ++i) set(bytes, 516 + 4 * i, general[i], 4);
  set(bytes, 548, rip, 4), set(bytes, 552, cs, 2);
  set(bytes, 556, rflags, 4), set(bytes, 560, rsp, 4);
  set(bytes, 564, ss, 2), set(bytes, 568, 0xe5, 2), set(bytes, 572, 0xd5, 2);
  set(bytes, 576, 0xf5, 2), set(bytes, 580, 0x65, 2);
  set(bytes, 2716, cr0, 4), set(bytes, 2724, cr2, 4);
  set(bytes, 2728, cr3, 4), set(bytes, 2732, cr4, 4);
  return bytes;
}

Bytes xen_arm_context(std::uint64_t pc, std::uint64_t cpsr, unsigned flags) {
  ByteWriter out;
  out.le32(flags).le32(0);
  for (unsigned i = 0; i < 31; ++i) out.le64(100 + i);
  out.le64(pc).le64(cpsr).le64(7).fill(16);
  out.le64(0xe10).le64(0xe11).le64(0xe12);              // sp_el0, sp_el1, elr_el1
  out.le64(0x5c).le64(0x7c).le64(0x77b0).le64(0x77b1);  // sctlr, ttbcr, ttbr0, ttbr1
  return out.bytes();
}

Bytes XenCore::bytes() const {
  std::vector<Section> sections{{"", 0, {}}, {".shstrtab", 3, {}}};
  ByteWriter notes;
  notes.append(elf_note("Xen", 0x2000000, {}));
  const std::uint64_t kind = magic.value_or(pv ? 0xf00febed : 0xf00febee);
  notes.append(elf_note("Xen", 0x2000001,
                        ByteWriter()
                            .le64(kind)
                            .le64(nr_vcpus.value_or(contexts.size()))
                            .le64(nr_pages.value_or(pages.size()))
                            .le64(page_size.value_or(4096))
                            .bytes()));
  if (version_note) notes.append(elf_note("Xen", 0x2000002, test::version_note()));
  notes.append(elf_note("Xen", 0x2000003, le(format_version, 8)));
  sections.push_back({".note.Xen", 7, notes.bytes()});
  ByteWriter status, memory, index;
  for (const Bytes& context : contexts)
    status.append(context).fill(stride - std::min(stride, context.size()));
  sections.push_back({".xen_prstatus", 1, status.bytes(), stride, 8});
  if (shared_info) sections.push_back({".xen_shared_info", 1, page_of(777), 4096, 8});
  for (const XenCorePage& page : pages) {
    memory.append(page.content.empty() ? Bytes(4096) : page.content);
    index.le64(page.pfn);
    if (pv) index.le64(page.mfn);
  }
  sections.push_back({".xen_pages", 1, memory.bytes(), 4096, 4096});
  sections.push_back(
      {pv ? ".xen_p2m" : ".xen_pfn", 1, index.bytes(), entsize.value_or(pv ? 16 : 8), 8});
  for (const std::string& name : more_sections) sections.push_back({name, 1, {}});
  std::erase_if(sections, [&](const Section& s) { return !without.empty() && s.name == without; });

  std::vector<std::uint64_t> names, places;
  for (const Section& section : sections) {
    names.push_back(sections[1].content.size());
    const Bytes name = ByteWriter().text(section.name).u8(0).bytes();
    sections[1].content.insert(sections[1].content.end(), name.begin(), name.end());
  }
  // The table of names comes last.
  std::uint64_t at = 64 + 64 * sections.size();
  for (std::size_t i = 2; i < sections.size(); ++i) {
    if (sections[i].align > 8) at = (at + 4095) / 4096 * 4096;
    places.push_back(at);
    at += sections[i].content.size();
  }
  ByteWriter out;
  out.append(from_hex("7f 45 4c 46 02 01 01 00 01 00 00 00 00 00 00 00"));
  out.le16(4).le16(machine).le32(1).le64(0).le64(0).le64(64).le32(0);
  out.le16(64).le16(56).le16(0).le16(64).le16(static_cast<unsigned>(sections.size())).le16(1);
  for (std::size_t i = 0; i < sections.size(); ++i) {
    const Section& s = sections[i];
    const std::uint64_t place = i == 0 ? 0 : i == 1 ? at : places[i - 2];
    out.le32(i == 0 ? 0 : names[i]).le32(s.type).le64(0).le64(0).le64(place);
    out.le64(i == 0 ? 0 : s.content.size()).le32(0).le32(0).le64(s.align).le64(s.entsize);
  }
  for (std::size_t i = 2; i < sections.size(); ++i) {
    out.fill(static_cast<std::size_t>(places[i - 2]) - out.size()).append(sections[i].content);
  }
  return out.append(sections[1].content).bytes();
}

std::uint64_t XenCore::page_at(std::size_t number) const {
  const Bytes all = bytes();
  const Bytes& content = pages[number].content;
  const auto found = std::search(all.begin(), all.end(), content.begin(), content.end());
  return static_cast<std::uint64_t>(found - all.begin());
}

Bytes XenOldCore::bytes() const {
  std::size_t size = 0;
  for (const Bytes& context : contexts) size += context.size();
  const std::size_t index_at = 24 + size, index_size = pages.size() * index_width;
  const std::size_t pages_at = (index_at + index_size + 4095) / 4096 * 4096;
  ByteWriter out;
  out.le32(pv ? 0xf00febed : 0xf00febee).le32(contexts.size()).le32(pages.size());
  out.le32(24).le32(index_at).le32(pages_at);
  for (const Bytes& context : contexts) out.append(context);
  for (const XenCorePage& page : pages) {
    const std::uint64_t frame = pv ? page.mfn : page.pfn;
    index_width == 8 ? out.le64(frame) : out.le32(frame);
  }
  pad_to(out, 4096);
  for (const XenCorePage& page : pages) out.append(page.content);
  return out.bytes();
}

XenMappedGuest xen_mapped_guest(std::size_t pages, unsigned width) {
  XenMappedGuest guest;
  for (std::size_t i = 0; i < pages; ++i)
    guest.pages.push_back({i, page_of(static_cast<unsigned>(i)), 0x5000 + i * 37 % 1009});
  const std::size_t tables = width == 8 ? 4 : 3, first = pages - tables;
  std::size_t slots[] = {272, 0, 0};
  if (width == 4) slots[0] = 3;
  for (std::size_t i = 0; i < tables; ++i) guest.pages[first + i].content = Bytes(4096);
  for (std::size_t i = 0; i + 1 < tables; ++i) {
    set(guest.pages[first + i].content, 8 * slots[i], guest.pages[first + i + 1].mfn << 12 | 0x067);
  }
  Bytes& leaf = guest.pages[pages - 1].content;
  for (std::size_t i = 0; i < pages; ++i)
    set(leaf, 8 * i, guest.pages[i].mfn << 12 | 0x8010000000000067);
  guest.root_mfn = guest.pages[first].mfn;
  return guest;
}

XenStream& XenStream::libxl(unsigned version, unsigned options) {
  out_.text("LibxlFmt").be32(version).be32(options);
  return record(1);
}

XenStream& XenStream::libxc(unsigned type, unsigned version) {
  out_.fill(8, 0xff).text("XENF").be32(version).be16(0).be16(0).be32(0);
  out_.le32(type).le16(12).le16(0).le32(4).le32(17);
  return *this;
}

XenStream& XenStream::record(std::uint32_t type, std::span<const std::byte> body) {
  out_.le32(type).le32(body.size()).append(body).fill((8 - body.size() % 8) % 8);
  return *this;
}

XenStream& XenStream::pages(const std::vector<XenPage>& pages) {
  ByteWriter body;
  body.le32(pages.size()).le32(0);
  for (const XenPage& page : pages) body.le64(page.word);
  for (const XenPage& page : pages) body.append(page.content);
  return record(1, body.bytes());
}

Bytes xl_file(std::string_view config, const Bytes& stream, unsigned flags) {
  ByteWriter out;
  out.text("Xen saved domain, xl format\n ").u8(0).text(" \r");
  out.le32(0x01020304).le32(flags).le32(0).le32(4 + config.size() + 1);
  return out.le32(config.size() + 1).text(config).u8(0).append(stream).bytes();
}

Bytes xend_file(std::string_view config, const Bytes& stream) {
  return ByteWriter()
      .text("LinuxGuestRecord")
      .be32(config.size())
      .text(config)
      .append(stream)
      .bytes();
}

Bytes libvirt_xen_file(std::string_view xml, const Bytes& stream) {
  ByteWriter out;
  out.text("libvirt-xml\n ").u8(0).text(" \r").le32(2).le32(xml.size() + 1).fill(40);
  return out.text(xml).u8(0).append(stream).bytes();
}

Bytes hvm_record(unsigned type, unsigned instance, std::span<const std::byte> body) {
  return ByteWriter().le16(type).le16(instance).le32(body.size()).append(body).bytes();
}

Bytes HvmCpuState::bytes() const {
  Bytes bytes(size);
  set(bytes, 512, rax), set(bytes, 520, 0xb), set(bytes, 528, 0xc), set(bytes, 536, 0xd);
  set(bytes, 544, 0xbb), set(bytes, 552, 0x51), set(bytes, 560, 0xd1), set(bytes, 568, rsp);
  for (unsigned i = 8; i < 16; ++i) set(bytes, 576 + 8 * (i - 8), i);
  set(bytes, 640, rip), set(bytes, 648, 0x246);
  set(bytes, 656, 0x80050033), set(bytes, 664, 0x1234), set(bytes, 672, cr3),
      set(bytes, 680, 0x1506f0);
  for (unsigned i = 0; i < 8; ++i) set(bytes, 736 + 4 * i, 0x10 + 8 * i, 4);
  for (unsigned i = 0; i < 10; ++i) set(bytes, 768 + 4 * i, 0x1000 + i, 4);
  for (unsigned i = 0; i < 10; ++i) set(bytes, 808 + 8 * i, 0x2000 + i);
  set(bytes, 840, gs_base);
  set(bytes, 888, 0xa9b, 4);  // code, long mode, pages
  set(bytes, 944, shadow_gs), set(bytes, 992, efer);
  return bytes;
}

XenLegacyStream& XenLegacyStream::blocks(const std::vector<std::pair<std::string, Bytes>>& blocks) {
  put(word_ == 8 ? ~std::uint64_t{0} : 0xffffffff);
  ByteWriter inside;
  for (const auto& [id, data] : blocks) inside.text(id).le32(data.size()).append(data);
  out_.le32(inside.size()).append(inside.bytes());
  return *this;
}

XenLegacyStream& XenLegacyStream::frame_list(std::size_t frames) {
  for (std::size_t i = 0; i < frames; ++i) put(0x700 + i);
  return *this;
}

XenLegacyStream& XenLegacyStream::batch(const std::vector<XenPage>& pages) {
  out_.le32(pages.size());
  for (const XenPage& page : pages) put(page.word);
  for (const XenPage& page : pages) out_.append(page.content);
  return *this;
}

XenLegacyStream& XenLegacyStream::chunk(std::int32_t type, std::span<const std::byte> body) {
  out_.le32(static_cast<std::uint32_t>(type)).append(body);
  return *this;
}

XenLegacyStream& XenLegacyStream::unmapped(const std::vector<std::uint64_t>& pfns) {
  out_.le32(pfns.size());
  for (const std::uint64_t pfn : pfns) put(pfn);
  return *this;
}

}  // namespace vmconvert::test
