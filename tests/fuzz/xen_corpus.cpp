#include "corpus.h"
#include "support/pc_stream.h"
#include "support/xen_builder.h"

namespace vmconvert::test {

void add_xen_cores(const Corpus& corpus) {
  for (const unsigned width : {8U, 4U}) {
    const XenMappedGuest guest = xen_mapped_guest(6, width);
    const XenContext context{.cr3 = guest.root_mfn << 12};
    const std::vector<Bytes> contexts{width == 8 ? context.wide() : context.narrow()};
    const std::string name = width == 8 ? "pv" : "pv-32";
    corpus.add(name,
               XenCore{.machine = width == 8 ? 62U : 3U, .pages = guest.pages, .contexts = contexts}
                   .bytes());
    corpus.add(
        name + "-old",
        XenOldCore{.index_width = width, .pages = guest.pages, .contexts = contexts}.bytes());
  }
  const std::vector<XenCorePage> pages{{0, page_of(0)}, {7, Bytes(4096)}, {~std::uint64_t{0}, {}}};
  corpus.add(
      "hvm",
      XenCore{.pv = false, .pages = pages, .contexts = {XenContext{.cs = 16}.wide()}}.bytes());
  corpus.add("arm", XenCore{.pv = false,
                            .machine = 40,
                            .pages = pages,
                            .contexts = {xen_arm_context(0xffff800010000000, 0x3c5)},
                            .stride = 352}
                        .bytes());
}

void add_xen_saves(const Corpus& corpus) {
  const std::uint64_t gone = std::uint64_t{15} << 60;
  const Bytes page = compressible_page(1), context = XenContext{}.wide();
  XenStream pv;
  pv.libxl().libxc(1).pv_info().record(3, ByteWriter().le32(0).le32(5).le64(2).bytes());
  pv.pages({{0, page}, {1, page}, {3 | gone}}).pages({{1, page}, {0 | gone}}).record(0x0d);
  pv.record(7, page).vcpu(0, context).record(5, Bytes(13)).end();
  corpus.add("pv", pv.bytes());
  corpus.add("xl", xl_file(R"({"c_info": {"name": "x"}, "b_info": {"max_vcpus": 1}})", pv.bytes()));
  corpus.add("libvirt", libvirt_xen_file("<domain><name>x</name></domain>", pv.bytes()));
  XenStream narrow;
  narrow.libxc(1, 2).pv_info(4).pages({{0, page}}).vcpu(0, XenContext{}.narrow());
  corpus.add("pv-32", narrow.end(false).bytes());
  const Bytes hvm_context = ByteWriter()
                                .append(hvm_record(2, 0, HvmCpuState{}.bytes()))
                                .append(hvm_record(0, 0, {}))
                                .bytes();
  XenStream hvm;
  hvm.libxl().libxc(2).pages({{0, page}}).record(9, hvm_context).record(0x0e);
  hvm.record(3, Bytes(12)).record(4).pages({{0, page}});
  corpus.add("checkpoint", hvm.bytes());
  for (const unsigned word : {8U, 4U}) {
    XenLegacyStream legacy(word, 600);
    legacy.blocks({{"vcpu", context}, {"extv", {}}, {"xcnt", Bytes(4, std::byte{1})}})
        .frame_list(2);
    legacy.batch({{0, page}, {0xf0000000}, {9, page}})
        .vcpu_info(0, 1)
        .chunk(-7, Bytes(20))
        .chunk(-9);
    legacy.chunk(0).unmapped({9}).raw(context).raw(Bytes(128)).raw(Bytes(16)).raw(page);
    corpus.add("legacy-" + std::to_string(word), legacy.bytes());
    corpus.add("xend-" + std::to_string(word), xend_file("(domain (name x))", legacy.bytes()));
  }
  XenLegacyStream old_hvm(8, 600);
  old_hvm.batch({{0, page}}).chunk(0).raw(Bytes(24));
  old_hvm.raw(ByteWriter().le32(hvm_context.size()).append(hvm_context).bytes());
  corpus.add("legacy-hvm", xl_file("name='x'", old_hvm.bytes(), 0));
}

/// Options of a guest, and changes to it: see fuzz_xen_search.cpp.
void add_xen_searches(const Corpus& corpus) {
  for (unsigned kind = 0; kind < 5; ++kind) {
    corpus.add("plain-" + std::to_string(kind), ByteWriter().u8(kind).u8(128).bytes());
    corpus.add("holes-" + std::to_string(kind),
               ByteWriter().u8(0x70 + kind).u8(128).le16(0x2fd).u8(7).u8(9).bytes());
  }
  ByteWriter changes;
  changes.u8(8).u8(200);
  for (unsigned i = 0; i < 12; ++i) {
    changes.u8(0).le16(i).le16(i * 40).le64(0x412345067);
    changes.u8(1).le16(i * 3).le16(258).u8(i * 5);
    changes.u8(2).le16(i * 4).le16(0x700 + i);
  }
  corpus.add("changes", changes.u8(3).le16(20).le16(0).bytes());
}

}  // namespace vmconvert::test
