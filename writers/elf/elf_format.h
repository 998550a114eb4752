#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "vmconvert/base/packed.h"

/// ELF as used by Linux vmcores. Truth: System V ABI, chapters 4 and 5 (Object Files, Program
/// Loading), elf.h of glibc 2.36. Page: docs/writers/elf.md.
namespace vmconvert::elf {

/// The records of a file in one byte order.
template <std::endian Order>
struct Layout {
  using u16 = Packed<std::uint16_t, Order>;
  using u32 = Packed<std::uint32_t, Order>;
  using u64 = Packed<std::uint64_t, Order>;

  struct Ehdr64 {
    le32 ei_magic{0x464c457f};     //  0  7f 45 4c 46, in either order
    Le<std::uint8_t> ei_class{2};  //  4  ELFCLASS64
    Le<std::uint8_t> ei_data{static_cast<std::uint8_t>(Order == std::endian::little ? 1 : 2)};  // 5
    Le<std::uint8_t> ei_version{1};  //  6
    Le<std::uint8_t> ei_osabi;       //  7
    u64 ei_pad;                      //  8
    u16 e_type{4};                   // 16  ET_CORE
    u16 e_machine;                   // 18
    u32 e_version{1};                // 20
    u64 e_entry;                     // 24
    u64 e_phoff{64};                 // 32  makedumpfile expects the program headers right behind
    u64 e_shoff;                     // 40
    u32 e_flags;                     // 48
    u16 e_ehsize{64};                // 52
    u16 e_phentsize{56};             // 54
    u16 e_phnum;                     // 56
    u16 e_shentsize;                 // 58
    u16 e_shnum;                     // 60
    u16 e_shstrndx;                  // 62
  };
  static_assert(sizeof(Ehdr64) == 64);

  struct Phdr64 {
    u32 p_type;    //  0
    u32 p_flags;   //  4
    u64 p_offset;  //  8
    u64 p_vaddr;   // 16
    u64 p_paddr;   // 24
    u64 p_filesz;  // 32
    u64 p_memsz;   // 40
    u64 p_align;   // 48
  };
  static_assert(sizeof(Phdr64) == 56);

  struct Shdr64 {
    u32 sh_name;       //  0
    u32 sh_type;       //  4
    u64 sh_flags;      //  8
    u64 sh_addr;       // 16
    u64 sh_offset;     // 24
    u64 sh_size;       // 32
    u32 sh_link;       // 40
    u32 sh_info;       // 44  in section 0: the number of program headers if e_phnum is kPnXnum
    u64 sh_addralign;  // 48
    u64 sh_entsize;    // 56
  };
  static_assert(sizeof(Shdr64) == 64);

  struct Nhdr {
    u32 n_namesz;  // 0  with the name's NUL
    u32 n_descsz;  // 4
    u32 n_type;    // 8
  };
  static_assert(sizeof(Nhdr) == 12);
};

/// Calls `function` with a Layout of this byte order.
template <class Function>
auto with_layout(std::endian order, const Function& function) {
  return order == std::endian::big ? function(Layout<std::endian::big>())
                                   : function(Layout<std::endian::little>());
}

/// Appends a record's bytes.
template <class T>
void append(std::vector<std::byte>& bytes, const T& record) {
  static_assert(std::is_trivially_copyable_v<T> && alignof(T) == 1);
  const auto* first = reinterpret_cast<const std::byte*>(&record);
  bytes.insert(bytes.end(), first, first + sizeof(T));
}

inline constexpr std::uint16_t kEm386 = 3, kEmPpc64 = 21, kEmS390 = 22, kEmX86_64 = 62,
                               kEmAarch64 = 183, kEmRiscv = 243;
/// Of the ABI: the processor supplement's version, which a ppc64 kernel's byte order goes with.
inline constexpr std::uint32_t kEfPpc64ElfV1 = 1, kEfPpc64ElfV2 = 2;
inline constexpr std::uint32_t kPtLoad = 1, kPtNote = 4;
inline constexpr std::uint32_t kPfRwx = 7;
inline constexpr std::uint16_t kPnXnum = 0xffff;
inline constexpr std::uint64_t kNoteAlignment = 4;

}  // namespace vmconvert::elf
