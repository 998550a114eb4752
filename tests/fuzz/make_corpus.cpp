// Writes the seeds of the fuzz targets: small streams of every kind. Usage: make_corpus FOLDER

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "support/compress.h"
#include "support/device_payloads.h"
#include "support/encoded_ram.h"
#include "support/libvirt_builder.h"
#include "support/pc_stream.h"
#include "support/scratch_folder.h"

namespace vmconvert::test {
namespace {

class Corpus {
 public:
  explicit Corpus(std::filesystem::path folder) : folder_(std::move(folder)) {
    std::filesystem::create_directories(folder_);
  }
  void add(const std::string& name, const Bytes& bytes) const {
    write_file((folder_ / name).string(), bytes);
  }
  void add(const std::string& name, const QevmBuilder& stream) const { add(name, stream.bytes()); }

 private:
  std::filesystem::path folder_;
};

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

/// A page that compresses well.
Bytes soft_page(unsigned value) {
  Bytes page(4096, static_cast<std::byte>(value));
  page[99] = std::byte{1};
  return page;
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
    compressed.append(compressed_record(i * 4096 | 0x100, "pc.ram", zlib_of(soft_page(i))));
  }
  corpus.add("compressed", stream(compressed.bytes()));
  ByteWriter deltas;
  deltas.append(compressed_record(0x100, "pc.ram", zlib_of(soft_page(7))));
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
  test::add_encodings(qevm);
  test::add_libvirt(test::Corpus(folder / "libvirt"));
}
