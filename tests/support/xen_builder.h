#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "support/byte_writer.h"

namespace vmconvert::test {

/// Overwrites bytes in the middle of a file.
void overwrite(Bytes& bytes, std::size_t at, std::span<const std::byte> patch);

/// A vcpu_guest_context. What is not named holds bytes of 0xee.
struct XenContext {
  std::uint64_t rip = 0xffffffff81000123, rsp = 0xffffc90000001000, rax = 1, rflags = 0x246;
  unsigned cs = 0xe033, ss = 0xe02b;
  std::uint64_t flags = 0x3d;  ///< online, in kernel, and what real ones have
  std::uint64_t cr0 = 0x80050033, user_root = 0, cr2 = 0x1234, cr3 = 0, cr4 = 0x50660;
  std::uint64_t fs_base = 0xf5, gs_base_kernel = 0x61, gs_base_user = 0x62;

  Bytes wide() const;    ///< 5168 bytes, of a 64-bit guest
  Bytes narrow() const;  ///< 2800 bytes, of a 32-bit one; cr3 is stored as it is
};

/// The 352 bytes of an Arm vCPU; x0 to x30 are 100 to 130.
Bytes xen_arm_context(std::uint64_t pc, std::uint64_t cpsr, unsigned flags = 1);

struct XenCorePage {
  std::uint64_t pfn = 0;
  Bytes content{};
  std::uint64_t mfn = 0;
};

/// A dump-core of today: an ELF file of sections.
struct XenCore {
  bool pv = true;
  unsigned machine = 62;
  std::vector<XenCorePage> pages{};
  std::vector<Bytes> contexts{};
  std::size_t stride = 5168;  ///< of a context
  std::optional<std::uint64_t> nr_vcpus{}, nr_pages{}, magic{}, page_size{}, entsize{};
  std::uint64_t format_version = 1;
  bool shared_info = true;
  bool version_note = true;
  std::vector<std::string> more_sections{};  ///< empty ones of these names
  std::string without{};                     ///< the section that is left out

  Bytes bytes() const;
  /// Where the page with this number in the file lies.
  std::uint64_t page_at(std::size_t number) const;
};

/// A core of Xen 3.0. The index holds the pages' mfn of a PV guest, else their pfn.
struct XenOldCore {
  bool pv = true;
  unsigned index_width = 8;
  std::vector<XenCorePage> pages{};
  std::vector<Bytes> contexts{};
  Bytes bytes() const;
};

/// Pages of a PV guest with page tables that map all of it in one piece, as its kernel has it: page
/// `i` holds page_of(i) but for the tables, which are the last ones. Frames look random.
struct XenMappedGuest {
  std::vector<XenCorePage> pages;
  std::uint64_t root_mfn = 0;
};
XenMappedGuest xen_mapped_guest(std::size_t pages, unsigned width);

/// One word of PAGE_DATA, and its page unless that is empty.
struct XenPage {
  std::uint64_t word = 0;
  Bytes content{};
};

/// A stream of libxl and libxc records.
class XenStream {
 public:
  /// The header of a libxl stream, and the record that says that the libxc stream follows.
  XenStream& libxl(unsigned version = 2, unsigned options = 0);
  /// The two headers of a libxc stream. @param type  1 PV, 2 HVM or PVH
  XenStream& libxc(unsigned type, unsigned version = 3);
  /// A record of either layer, with its padding.
  XenStream& record(std::uint32_t type, std::span<const std::byte> body = {});
  XenStream& pages(const std::vector<XenPage>& pages);
  XenStream& pv_info(unsigned width = 8) {
    return record(2, ByteWriter().u8(width).u8(width == 8 ? 4 : 3).fill(6).bytes());
  }
  XenStream& vcpu(unsigned number, const Bytes& context) {
    return record(4, ByteWriter().le32(number).le32(0).append(context).bytes());
  }
  /// The end of both layers.
  XenStream& end(bool wrapped = true) {
    record(0);
    return wrapped ? record(0) : *this;
  }
  std::size_t size() const { return out_.size(); }
  const Bytes& bytes() const { return out_.bytes(); }

 private:
  ByteWriter out_;
};

/// A save file of xl. @param flags  1: the configuration is JSON, 2: the stream is of today
Bytes xl_file(std::string_view config, const Bytes& stream, unsigned flags = 3);
Bytes xend_file(std::string_view config, const Bytes& stream);
Bytes libvirt_xen_file(std::string_view xml, const Bytes& stream);

/// One record of an HVM context, and its CPU record.
Bytes hvm_record(unsigned type, unsigned instance, std::span<const std::byte> body);
struct HvmCpuState {
  std::uint64_t rip = 0xffffffff81000456, rsp = 0xffffc90000002000, rax = 5;
  std::uint64_t cr3 = 0x2a10000, efer = 0xd01, gs_base = 0xffff888005a00000, shadow_gs = 0x77;
  std::size_t size = 1032;
  Bytes bytes() const;
};

/// A stream of Xen 4.5 and older.
class XenLegacyStream {
 public:
  /// @param word  bytes of the toolstack's words
  XenLegacyStream(unsigned word, std::uint64_t p2m_size) : word_(word) { put(p2m_size); }

  /// Extended information of a PV guest with these blocks, whose sizes are those of their data.
  XenLegacyStream& blocks(const std::vector<std::pair<std::string, Bytes>>& blocks);
  XenLegacyStream& frame_list(std::size_t frames);
  /// A batch; words have their type in bits 31 to 28.
  XenLegacyStream& batch(const std::vector<XenPage>& pages);
  XenLegacyStream& chunk(std::int32_t type, std::span<const std::byte> body = {});
  XenLegacyStream& vcpu_info(unsigned highest, std::uint64_t online) {
    return chunk(-2, ByteWriter().le32(highest).le64(online).bytes());
  }
  XenLegacyStream& unmapped(const std::vector<std::uint64_t>& pfns);
  XenLegacyStream& raw(std::span<const std::byte> bytes) {
    out_.append(bytes);
    return *this;
  }
  std::size_t size() const { return out_.size(); }
  const Bytes& bytes() const { return out_.bytes(); }

 private:
  void put(std::uint64_t value) { word_ == 8 ? out_.le64(value) : out_.le32(value); }

  unsigned word_;
  ByteWriter out_;
};

}  // namespace vmconvert::test
