// Writes the seeds of the fuzz targets: small streams of every kind. Usage: make_corpus FOLDER

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "corpus.h"
#include "support/compress.h"
#include "support/described_state.h"
#include "support/device_payloads.h"
#include "support/display_states.h"
#include "support/elf_builder.h"
#include "support/encoded_ram.h"
#include "support/kdump_builder.h"
#include "support/kallsyms_builder.h"
#include "support/kernel_memory.h"
#include "support/libvirt_builder.h"
#include "support/pc_stream.h"
#include "support/process_core_builder.h"
#include "support/qcow2_builder.h"

namespace vmconvert::test {
namespace {

RamPayload zeros(std::string_view block) {
  return RamPayload().zero(block, 0).next_zero(4096, 0xff).next_page(8192, 1).eos();
}

void add_framing(const Corpus& corpus) {
  corpus.add("plain", small_pc(2).eos().description());
  corpus.add("no-footers", small_pc(2, "pc-i440fx-2.3", false).eos().description());
  corpus.add("no-configuration",
             small_pc(2, "", false).device("0000:00:00.0/I440FX", Bytes(30)).eos());
  corpus.add("offset", ByteWriter().fill(100, 7).append(small_pc(1).eos().bytes()).bytes());
  QevmBuilder all = pc("pc-q35-10.0");
  all.target_page_bits(12).capabilities({"x-ignore-shared"}).uuid().command(3, Bytes(16));
  all.ram_start({{"pc.ram", 12288, ByteWriter().be64(0).bytes()}});
  all.ram_part(zeros("pc.ram")).command(0x0b).ram_end();
  corpus.add("configuration", all.eos().description().padding(5));
  corpus.add("background-snapshot", pc().ram_start({{"pc.ram", 12288, {}}})
                                        .ram_part(zeros("pc.ram"))
                                        .device("timer", Bytes(24))
                                        .eos());
  corpus.add("small-pages",
             pc().target_page_bits(10).ram_start({{"pc.ram", 4096, {}}}).ram_end().eos());
}

void add_live_sections(const Corpus& corpus) {
  constexpr std::uint64_t kVfio = 0xffffffffef100000;
  QevmBuilder stream = pc();
  stream.start(1, "dirty-bitmap", 1,
               from_hex("4c 01 61 01 62 00 00 00 00 00 00 00 00 00 00 00 08"
                        "00 00 00 00 00 00 00 01 ff 01"));
  stream.start(3, "spapr/htab", 1, ByteWriter().be32(21).bytes());
  stream.start(4, "s390-storage_attributes", 0, ByteWriter().be64(2).be64(1).u8(0).be64(1).bytes());
  stream.start(5, "block", 1, ByteWriter().be64(9).counted_text("a").be64(2).bytes());
  stream.start(6, "pbs-state", 1, ByteWriter().be64(2).text("{}").bytes());
  stream.start(7, "0000:00:05.0/vfio", 1,
               ByteWriter().be64(kVfio + 2).fill(9).be64(kVfio + 1).bytes());
  stream.start(8, "unknown", 1, Bytes(5, std::byte{1}));
  stream.ram_start({{"pc.ram", 12288, {}}}).ram_part(zeros("pc.ram"));
  stream.part(3, ByteWriter().be32(0).be32(1).be16(1).be16(0).fill(16).be64(0).bytes());
  corpus.add("live-sections", stream.ram_end().eos());
}

void add_memory(const Corpus& corpus) {
  const std::uint64_t ram = 2 * kMiB;
  const BridgeState reset{.pam = std::vector<std::uint8_t>(7), .smram = 0x0a, .esmramc = 0x39};
  corpus.add("i440fx-roms", pc().ram_start({{"pc.ram", ram, {}},
                                            {"vga.vram", 4096, {}},
                                            {"pc.rom", 128 * kKiB, {}},
                                            {"pc.bios", 64 * kKiB, {}}})
                                .ram_part(zeros("pc.ram"))
                                .ram_end(zeros("pc.bios"))
                                .device("0000:00:00.0/I440FX", i440fx_state(reset), {.version = 3})
                                .device("mc146818rtc", rtc_state(ram, 0), {.version = 3})
                                .eos()
                                .description());
  corpus.add("q35-tseg", pc("pc-q35-7.2")
                             .ram_start({{"pc.ram", ram, {}}})
                             .ram_end(zeros("pc.ram"))
                             .device("0000:00:00.0/mch", mch_state(reset))
                             .eos());
  corpus.add("split", pc("pc-i440fx-7.2")
                          .ram_start({{"ram-node1", 2 * kGiB, {}}, {"ram-node0", 2 * kGiB, {}}})
                          .ram_end(zeros("ram-node1"))
                          .device("mc146818rtc", rtc_state(3 * kGiB, kGiB), {.version = 3})
                          .eos()
                          .description());
  const VirtioMemState state{.address = 4 * kGiB, .region_size = 4 * kMiB, .plugged = {1}};
  const std::vector<BlockEntry> blocks{
      {"0000:00:01.0/vmem", 4 * kMiB, {}}, {"dimm", kMiB, {}}, {"pc.ram", ram, {}}};
  corpus.add("virtio-mem-early",
             pc().ram_start(blocks)
                 .device("0000:00:01.0/virtio-mem-device-early", virtio_mem_early_state(state))
                 .ram_end(zeros("dimm"))
                 .eos());
  corpus.add("virtio-mem-old",
             pc().ram_start(blocks)
                 .ram_end(zeros("0000:00:01.0/vmem"))
                 .device("0000:00:01.0/virtio-mem", virtio_mem_old_state(state, 9))
                 .eos()
                 .description());
  corpus.add("no-footers-search", pc("", false)
                                      .ram_start({{"pc.ram", ram, {}}})
                                      .ram_end(zeros("pc.ram"))
                                      .device("0000:00:00.0/I440FX", i440fx_state(reset))
                                      .device("mc146818rtc", rtc_state(ram, 0))
                                      .eos());
}

void add_kernel_facts(const Corpus& corpus) {
  Bytes page(4096);
  const Bytes note = vmcoreinfo_note("OSRELEASE=6.1\n");
  std::copy(note.begin(), note.end(), page.begin());
  corpus.add("facts",
             pc().ram_start({{"pc.ram", 8192, {}}})
                 .ram_end(RamPayload()
                              .raw(0x08, ByteWriter().counted_text("pc.ram").append(page).bytes())
                              .eos())
                 .device("cpu", cpu_state({}), {.version = 12})
                 .device("vmcoreinfo", vmcoreinfo_state({.paddr = 0}))
                 .eos()
                 .description());
}

/// A small guest of each board, with one vCPU and its description.
void add_boards(const Corpus& corpus) {
  const auto add = [&](const std::string& name, std::string_view machine, std::string_view block,
                       const DescribedState& cpu, std::uint32_t version) {
    corpus.add(name, pc(machine)
                         .ram_start({{std::string(block), 12288, {}}, {"dimm", 4096, {}}})
                         .ram_end(RamPayload().zero(block, 0).eos())
                         .device("cpu", cpu.bytes(), cpu.options(0, version))
                         .device("vmcoreinfo", vmcoreinfo_state({.paddr = 0x40000000}))
                         .eos()
                         .description());
  };
  add("aarch64", "virt-7.2", "mach-virt.ram", aarch64_state(0), 22);
  add("s390x", "s390-ccw-virtio-7.2", "s390.ram", s390x_state(0), 4);
  // Most of a ppc64 CPU's state are 1024 special purpose registers.
  add("ppc64", "pseries-7.2", "ppc_spapr.ram", ppc64_state(0), 5);
  add("riscv64", "virt", "riscv_virt_board.ram", riscv64_state(0), 5);
  add("i386", "pc-i440fx-7.2", "pc.ram", x86_state(0, 4, 0), 12);
  const DescribedState arm = aarch64_state(0);
  corpus.add("aarch64-undescribed", pc("virt-7.2")
                                        .ram_start({{"mach-virt.ram", 8192, {}}})
                                        .ram_end()
                                        .device("cpu", arm.bytes(), {.version = 22})
                                        .eos());
}

MappedRamFile mapped_file() {
  MappedRamFile file;
  file.blocks = {{"pc.ram", 3, {{.index = 1, .number = 1}}}};
  file.alignment = 512;
  return file;
}

void add_encodings(const Corpus& corpus) {
  const auto stream = [](const Bytes& records) {
    return pc()
        .ram_start({{"pc.ram", 12288, {}}})
        .end(2, ByteWriter().append(records).be64(0x10).bytes())
        .eos();
  };
  ByteWriter compressed;
  for (unsigned i = 0; i < 3; ++i) {
    compressed.append(compressed_record(i * 4096 | 0x100, "pc.ram", zlib_of(compressible_page(i))));
  }
  corpus.add("compressed", stream(compressed.bytes()));
  ByteWriter deltas;
  deltas.append(compressed_record(0x100, "pc.ram", zlib_of(compressible_page(7))));
  deltas.append(RamPayload().next_zero(4096, 3).next_page(8192, 1).bytes());
  const Bytes change =
      Delta().same(5).changed(from_hex("0102")).same(300).changed(Bytes(9)).bytes();
  for (unsigned i = 0; i < 6; ++i) {
    deltas.append(delta_record((i % 3) * 4096 | 0x60, "", change));
  }
  deltas.append(RamPayload().next_zero(4096).bytes());
  deltas.append(delta_record(4096 | 0x40, "pc.ram", Delta().same(0).changed(Bytes(200)).bytes()));
  corpus.add("deltas", stream(deltas.bytes()));
  MappedRamFile mapped = mapped_file();
  corpus.add("mapped-ram", mapped.bytes());
  mapped.big_endian_host = true;
  mapped.prefix = Bytes(37);
  corpus.add("mapped-ram-big-endian", mapped.bytes());
}

void add_libvirt(const Corpus& corpus) {
  MappedRamFile sparse = mapped_file();
  sparse.prefix = LibvirtSave{.format = 6}.bytes();
  corpus.add("sparse", sparse.bytes());
  const Bytes stream = small_pc(1).eos().bytes();
  corpus.add("plain", LibvirtSave{.cookie = "<cookie/>", .stream = stream}.bytes());
  corpus.add("big-endian", LibvirtSave{.version = 1, .big_endian = true, .stream = stream}.bytes());
  corpus.add("part", LibvirtSave{.magic = "LibvirtQemudPart",
                                 .stream = Bytes(stream.begin(), stream.end() - 20)}
                         .bytes());
  corpus.add(
      "dimm",
      LibvirtSave{.xml = domain_with_dimm("0x280000000", ""),
                  .stream = pc().ram_start({{"memdimm0", 2 * kMiB, {}}, {"pc.ram", 8192, {}}})
                                .ram_end(zeros("memdimm0"))
                                .eos()
                                .bytes()}
          .bytes());
  const Bytes small = pc().ram_start({{"pc.ram", 8192, {}}}).ram_end().eos().bytes();
  std::uint32_t format = 1;
  for (const Codec codec : {Codec::gzip, Codec::bzip2, Codec::xz, Codec::lzop, Codec::zstd}) {
    corpus.add(
        std::string(codec_name(codec)),
        LibvirtSave{.format = format++, .padding = 0, .stream = compress(codec, small)}.bytes());
  }
}

void add_qcow2(const Corpus& corpus) {
  QevmBuilder stream = pc().ram_start({{"pc.ram", 8192, {}}});
  const Bytes page = ByteWriter().counted_text("pc.ram").append(compressible_page(0)).bytes();
  stream.ram_part(RamPayload().raw(0x08, page).raw(4096 + 0x28, Bytes(4096)).eos()).ram_end().eos();
  const Bytes zeros = pc().ram_start({{"pc.ram", 8192, {}}}).ram_end().eos().bytes();
  Qcow2Image image{.disk_size = 512};
  image.snapshots.push_back({.state = stream.bytes()});
  corpus.add("plain", image.bytes());
  image.version = 2;
  image.reversed = true;
  corpus.add("version-2", image.bytes());
  image.version = 3;
  image.kept = [](std::uint64_t i) { return i > 9 && i < 16 ? Kept::hole : Kept::packed; };
  corpus.add("zlib", image.bytes());
  image.zstd = true;
  image.kept = [](std::uint64_t i) { return i > 9 && i < 16 ? Kept::zero : Kept::packed; };
  corpus.add("zstd", image.bytes());
  const Qcow2State first{.state = zeros, .disk_size = 40'000};
  const Qcow2State disk{.id = "2", .name = "disk", .extra_size = 16};
  const Qcow2State last{.id = "3", .name = "1", .state = zeros, .extra_size = 0};
  corpus.add("snapshots",
             Qcow2Image{.disk_size = 70'000, .snapshots = {first, disk, last}}.bytes());
  Bytes extended = Qcow2Image{.cluster_bits = 14, .extended = true, .snapshots = {first}}.bytes();
  extended.resize((4 << 14) + 128);  // what follows the snapshot table is not read
  corpus.add("extended", extended);
  corpus.add(
      "features",
      Qcow2Image{
          .more_features = 0x21,
          .extensions =
              ByteWriter().be32(0x6803f857).be32(48).u8(0).u8(5).text("feature").fill(39).bytes(),
          .snapshots = {first}}
          .bytes());
}

void add_process_cores(const Corpus& corpus) {
  SampleProcess process;
  process.blocks[0].size = 8192;
  process.ranges = {
      {0, 4096, 0, 0}, {0xa0000, 4096, SampleRange::kIo, 0}, {0x100000, 4096, 0, 4096}};
  process.note_at = 0x100000;
  ProcessCore core = SampleProcess(process).build();
  core.copy(process.blocks[0].host + 4096, vmcoreinfo_note("OSRELEASE=6.1\n"));
  corpus.add("plain", core.bytes());
  process.note_at = 0;
  process.older = true;
  process.executable = "/usr/bin/qemu-system-ppc64";
  corpus.add("older-big-endian", SampleProcess(process).build(true).bytes());
  process.blocks.push_back({.name = "dimm0", .host = 0x7f0000010000, .size = 4096});
  process.blocks.push_back(
      {.name = "pc.bios", .host = 0x7f0000020000, .size = 4096, .readonly = true});
  process.ranges.push_back({0xfffff000, 4096, 2, 0});
  process.ranges.push_back({0x100000000, 4096, 1, 0});
  core = SampleProcess(process).build();
  core.mapping_at(0x7f0000010000).stored = false;
  core.mapping_at(0x7f0000020000).file = "/usr/share/bios";
  corpus.add("untouched", core.bytes());
}

/// As fuzz_kernel.cpp reads a guest: x86-64, CR3, CR4, and the pages that are not zero.
Bytes kernel_seed(const KernelMemory& memory, std::uint64_t cr4, bool registers) {
  constexpr std::size_t kPage = 4096;
  ByteWriter seed;
  seed.u8(registers ? 0 : 0x40).le64(memory.root()).le64(cr4).le64(0);
  for (std::size_t at = 0; at < memory.bytes().size(); at += kPage) {
    const auto page = std::span(memory.bytes()).subspan(at, kPage);
    if (std::any_of(page.begin(), page.end(), [](std::byte b) { return b != std::byte{0}; }))
      seed.le16(static_cast<unsigned>(at / kPage)).append(page);
  }
  return seed.bytes();
}

void add_kernels(const Corpus& corpus) {
  constexpr std::uint64_t kNoteAt = 0xa00000;
  for (const unsigned levels : {4U, 5U}) {
    KernelMemory memory(
        {.levels = levels, .page_offset = levels == 5 ? 0xff25c954c0000000 : 0xffff91c0c0000000});
    memory.put_note(kNoteAt, memory.vmcoreinfo());
    memory.point_to(kNoteAt);
    const std::string name = std::to_string(levels) + "-levels";
    corpus.add(name, kernel_seed(memory, levels == 5 ? 0x10f0 : 0xf0, true));
    corpus.add(name + "-no-registers", kernel_seed(memory, 0, false));
  }
  const KernelMemory::Layout layout;
  KernelMemory memory(layout);
  const std::uint64_t text = layout.image_gva;
  const std::string told = put_kallsyms(memory, layout,
                                        {{{"T_stext", text},
                                          {"D__init_begin", text + 0x100000},
                                          {"D__init_end", text + 0x200000},
                                          {"B_brk_end", text + KernelMemory::kRootInImage}}});
  memory.put_note(kNoteAt, memory.vmcoreinfo() + told + "SYMBOL(_stext)=ffffffff8d400000\n");
  memory.point_to(kNoteAt);
  corpus.add("kallsyms", kernel_seed(memory, 0xf0, true));
}

void add_screens(const Corpus& corpus) {
  const auto add = [&](const std::string& name, const ScreenGuest& guest) {
    corpus.add(name, guest.stream());
  };
  VgaState state;
  add("text", vga_guest(state));
  state.gr[6] = 1;
  add("planes", vga_guest(state));
  state.gr[5] = 0x20;
  state.cr[0x17] = 0;
  add("cga", vga_guest(state));
  for (const unsigned bits : {4U, 8U, 15U, 16U, 24U, 32U}) {
    state.set_vbe(16, 4, bits, 64, 64);
    add("vbe-" + std::to_string(bits), vga_guest(state));
  }
  state.big_endian = true;
  add("big-endian", vga_guest(state));
  ScreenGuest cirrus;
  add("cirrus", cirrus.device("cirrus_vga", cirrus_state(0x01, 0)));
  add("qxl", qxl_guest({}));
  add("qxl-vga", qxl_guest({.mode = 1}));
  add("bochs", bochs_guest({0, 64, 64, 32, 1, 0, 4, 0, 1, 1}));
  add("ramfb", ramfb_guest(0x2000, "XR24", 2, 2, 16));
  add("virtio", gpu_guest(virtio_payload({})));
}

void add_elf_dumps(const Corpus& corpus) {
  ElfDump dump;
  dump.notes = elf_note("CORE", 1, Bytes(336));
  const Bytes text = elf_note("VMCOREINFO", 0, as_bytes("OSRELEASE=6.1\n"));
  dump.notes.insert(dump.notes.end(), text.begin(), text.end());
  dump.loads = {{.paddr = 0x1000, .content = Bytes(100, std::byte{1})},
                {.paddr = 0x1020, .content = Bytes(20, std::byte{1})},
                {.paddr = 0x8000, .content = Bytes(64, std::byte{2}), .memsz = 100}};
  corpus.add("plain", dump.bytes());
  dump.many = true;
  corpus.add("many", dump.bytes());
  dump.loads[1].offset = dump.content_at() + 0x20;
  corpus.add("alias", dump.bytes());
  corpus.add("big-endian", ElfDump{.big = true, .machine = 22, .loads = dump.loads}.bytes());
  corpus.add("narrow", ElfDump{.is_64 = false, .machine = 3, .loads = dump.loads}.bytes());
}

void add_kdumps(const Corpus& corpus) {
  Kdump dump;
  dump.notes = elf_note("CORE", 1, Bytes(336));
  dump.vmcoreinfo = "OSRELEASE=6.1\n";
  std::uint64_t pfn = 0;
  for (const unsigned flags : {kStored, kZlib, kLzo, kSnappy, kZstd}) {
    dump.pages[++pfn] = {Bytes(4096, std::byte{3}), flags};
  }
  dump.pages[9] = {Bytes(4096), kStored, true};
  corpus.add("plain", dump.bytes());
  corpus.add("flattened", flattened(dump.bytes(), 4096));
  dump.excluded = {7};
  dump.level = 31;
  dump.big = true;
  dump.machine = "s390x";
  corpus.add("big-endian", dump.bytes());
  dump.big = false;
  dump.is_64 = false;
  dump.machine = "i686";
  corpus.add("narrow", dump.bytes());
}

void add_lime(const Corpus& corpus) {
  const Bytes easy(500, std::byte{5});
  corpus.add(
      "lime",
      ByteWriter().append(lime_record(0x5000, easy)).append(lime_record(0x1000, easy)).bytes());
  corpus.add("avml", ByteWriter()
                         .append(avml_block(0x1000, easy, true, 300))
                         .append(avml_block(0x8000, easy, false))
                         .bytes());
}

}  // namespace
}  // namespace vmconvert::test

int main(int argc, char** argv) {
  namespace test = vmconvert::test;
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_corpus FOLDER\n");
    return 2;
  }
  const std::filesystem::path folder(argv[1]);
  const test::Corpus qevm(folder / "qevm");
  test::add_framing(qevm);
  test::add_live_sections(qevm);
  test::add_memory(qevm);
  test::add_kernel_facts(qevm);
  test::add_boards(qevm);
  test::add_encodings(qevm);
  test::add_libvirt(test::Corpus(folder / "libvirt"));
  test::add_qcow2(test::Corpus(folder / "qcow2"));
  test::add_process_cores(test::Corpus(folder / "qemu_core"));
  test::add_screens(test::Corpus(folder / "screen"));
  test::add_elf_dumps(test::Corpus(folder / "elf_dump"));
  test::add_kdumps(test::Corpus(folder / "kdump"));
  test::add_lime(test::Corpus(folder / "lime"));
  test::add_kernels(test::Corpus(folder / "kernel"));
  test::add_checkpoints(test::Corpus(folder / "vmware"));
  test::add_panic_dumps(test::Corpus(folder / "vmware_panic"));
  test::add_xen_cores(test::Corpus(folder / "xen_core"));
  test::add_xen_saves(test::Corpus(folder / "xen_save"));
  test::add_xen_searches(test::Corpus(folder / "xen_search"));
}
