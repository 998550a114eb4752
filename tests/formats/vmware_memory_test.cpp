#include <filesystem>

#include "support/checkpoint_builder.h"
#include "support/encoded_ram.h"
#include "support/fastlz_stream.h"
#include "support/image_bytes.h"
#include "support/memory_folder.h"
#include "support/qevm_builder.h"
#include "support/reading.h"
#include "support/scratch_folder.h"
#include "support/test.h"
#include "vmware/vmware_reader.h"

namespace vmconvert::test {
namespace {

constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

Bytes pages(unsigned seed, std::size_t count) { return page_of(seed, count * 4096); }

Bytes slice(const Bytes& bytes, std::size_t page, std::size_t count) {
  const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(page * 4096);
  return Bytes(begin, begin + static_cast<std::ptrdiff_t>(count * 4096));
}

/// So many zeros.
class ZeroSource final : public ByteSource {
 public:
  explicit ZeroSource(std::uint64_t size) : size_(size) {}
  const std::string& name() const override { return name_; }
  std::uint64_t size() const override { return size_; }
  void read_at(FileOffset, std::span<std::byte> out) const override {
    std::fill(out.begin(), out.end(), std::byte{0});
  }

 private:
  std::string name_ = "vm.vmem";
  std::uint64_t size_;
};

/// A folder with a large memory file.
class SparseFolder final : public Neighbours {
 public:
  explicit SparseFolder(std::uint64_t size) : size_(size) {}
  std::vector<std::string> names() const override { return {"vm.vmem"}; }
  std::uint64_t size(const std::string&) const override { return size_; }
  std::shared_ptr<const ByteSource> open(const std::string&, bool, Diagnostics&) const override {
    return std::make_shared<ZeroSource>(size_);
  }

 private:
  std::uint64_t size_;
};

/// A state whose memory group is still open.
CheckpointBuilder state() {
  CheckpointBuilder file;
  file.group("Checkpoint").number("Platform", {}, 1);
  file.group("memory");
  return file;
}

ReadResult read_pair(const CheckpointBuilder& file, const Bytes& memory,
                     const ReadOptions& options = {}) {
  return read_in_folder({{"vm.vmss", file.bytes()}, {"vm.vmem", memory}}, "vm.vmss", options);
}

TEST_CASE("vmware memory: inside the state, at its alignment, without regions") {
  for (const unsigned word_size : {8U, 4U}) {
    CheckpointBuilder file = state();
    file.word_size = word_size;
    file.number("regionsCount", {}, 0).number("align_mask", {0, 0}, 0xffff);
    file.block("Memory", {0, 0}, pages(1, 5), {.alignment = 65536});
    file.group("Snapshot").number("after", {}, 1);
    const ReadResult result = read_bytes(file.bytes());
    REQUIRE(result.error == "");
    CHECK(result.image->runs.extents() == std::vector{guest_range(0, 5 * 4096)});
    CHECK(guest_bytes(*result.image, 0, 5 * 4096) == pages(1, 5));
    CHECK(std::get<InFile>(result.image->runs.runs()[0].backing).at.value == 65536);
    CHECK(result.has_decision("20 KiB of RAM from address 0 on; the state has no regions"));
  }
}

TEST_CASE("vmware memory: regions in any number and order, inside and beside") {
  using Region = CheckpointBuilder::Region;
  const std::vector<std::vector<Region>> layouts{
      {{0, 0, 8}},
      {{0, 0, 3}, {3, 0x100000, 5}},
      {{5, 0x100000, 3}, {0, 0, 5}},
      {{6, 0x200, 2}, {0, 0x100000, 3}, {3, 0, 3}},
      {{0, 7, 1}, {4, 0x300, 2}, {1, 0x200, 3}, {6, 0x100000, 1}, {7, 0x10000000, 1}},
  };
  const Bytes memory = pages(3, 8);
  for (const auto& layout : layouts) {
    for (const unsigned size : {4U, 8U}) {
      for (const bool inside : {true, false}) {
        CheckpointBuilder file = state();
        // Tags of odd sizes and padded blocks before them lead many readers astray.
        file.value("odd", {}, Bytes(3)).block("padded", {}, Bytes(5), {.padding = 77});
        file.regions(layout, size);
        if (inside) file.block("Memory", {0, 0}, memory, {.padding = 3});
        const ReadResult result = inside ? read_bytes(file.bytes()) : read_pair(file, memory);
        REQUIRE(result.error == "");
        std::uint64_t total = 0;
        for (const Region& region : layout) {
          CHECK(guest_bytes(*result.image, region.ppn * 4096, region.pages * 4096) ==
                slice(memory, region.page_num, region.pages));
          total += region.pages * 4096;
        }
        CHECK(result.image->runs.total_bytes() == total);
      }
    }
  }
}

TEST_CASE("vmware memory: two regions may show the same bytes, and a Memory tag needs no indices") {
  CheckpointBuilder file = state();
  file.regions({{1, 0, 2}, {0, 0x100, 2}, {0, 0x200, 0}}).block("Memory", {}, pages(1, 3));
  const ReadResult result = read_bytes(file.bytes());
  REQUIRE(result.error == "");
  CHECK(guest_bytes(*result.image, 0, 8192) == slice(pages(1, 3), 1, 2));
  CHECK(guest_bytes(*result.image, 0x100000, 8192) == slice(pages(1, 3), 0, 2));
}

TEST_CASE("vmware memory: 6 GiB as ESX 4.1 had it, a sparse file") {
  CheckpointBuilder file;
  file.group("Checkpoint").number("memSize", {}, 6144);
  file.group("memory").regions({{0, 0, 0xc0000}, {0xc0000, 0x100000, 0xc0000}});
  const ReadResult result = read_source(std::make_shared<MemorySource>("vm.vmss", file.bytes()),
                                        {.memory_file = "/dev/null"});
  CHECK(result.error == "/dev/null: is neither a regular file nor a block device nor a pipe");
  const ScratchFolder scratch;
  write_file(scratch.path("vm.vmss"), file.bytes());
  write_file(scratch.path("vm.vmem"), pages(9, 1));
  std::filesystem::resize_file(scratch.path("vm.vmem"), 6 * kGiB);
  CollectingDiagnostics diagnostics;
  const Input input = Input::open(scratch.path("vm.vmss"), false, diagnostics);
  const GuestImage image = vmware::kVmware.read(input, {}, diagnostics);
  CHECK(image.runs.extents() ==
        std::vector{guest_range(0, 3 * kGiB), guest_range(4 * kGiB, 7 * kGiB)});
  CHECK(guest_bytes(image, 0, 4096) == pages(9, 1));
  // Holes are zeros that nobody reads.
  CHECK(std::holds_alternative<Filled>(image.runs.runs().back().backing));
  CHECK(diagnostics.of(Diagnostics::Level::warning) ==
        std::vector<std::string>{scratch.path("vm.vmss") +
                                 ": does not tell the guest's architecture; x86_64 is assumed "
                                 "(--arch)"});
}

TEST_CASE("vmware memory: what the group says of itself has to agree") {
  const auto error = [](const auto& fill, const ReadOptions& options = {}) {
    CheckpointBuilder file = state();
    fill(file);
    file.block("Memory", {0, 0}, pages(1, 4));
    const ReadResult result = read_bytes(file.bytes(), options);
    if (!result.image) return result.error;
    for (const std::string& text : result.diagnostics->of(Diagnostics::Level::warning)) {
      if (text.find("architecture") == std::string::npos) return "warning: " + text;
    }
    return std::string();
  };
  CHECK(error([](auto& f) {
          f.regions({{0, 0, 4}}).number("regionPPN", {0}, 1);
        }).ends_with("regionPPN[0] comes twice with different values"));
  CHECK(error([](auto& f) {
          f.regions({{0, 0, 4}}).number("regionPPN", {1}, 1);
        }) == "input: 1 region without one of regionPageNum, regionPPN and regionSize");
  CHECK(error([](auto& f) {
          f.regions({{0, 0, 4}}).number("regionsCount", {}, 2);
        }) == "input: regionsCount says 2 regions, 1 of them complete");
  CHECK(error([](auto& f) {
          f.regions({{0, 0, 4}}).number("regionsCount", {}, 0);
        }) == "warning: input: regionsCount says 0 regions, all 1 that are described are used");
  CHECK(error([](auto& f) {
          f.regions({{0, 0, 3}, {2, 2, 2}});
        }) == "input: region 1 (2 pages from page 0x2) overlaps the one before it");
  CHECK(error([](auto& f) {
          f.regions({{0, ~std::uint64_t{0}, 4}}, 8);
        }) == "input: region 0 (4 pages from page 0xffffffffffffffff) lies beyond all addresses");
  CHECK(error([](auto& f) {
          f.regions({{~std::uint64_t{1}, 0, 4}}, 8);
        }) == "input: region 0 (4 pages from page 0x0) lies beyond all addresses");
  CHECK(error([](auto& f) {
          f.regions({{0, 0, std::uint64_t{1} << 52}}, 8);
        }) == "input: region 0 (4503599627370496 pages from page 0x0) lies beyond all addresses");
  CHECK(error([](auto& f) {
          f.regions({{1, 0, 4}});
        }) ==
        "input: the memory is cut off after 16 KiB, more is described (--salvage converts what is "
        "there)");
  CHECK(error([](auto& f) {
          f.regions({{0, 0, 3}});
        }) == "warning: input: 4 KiB of the memory are beyond all regions, and left out");
  CHECK(error([](auto& f) {
          f.value("regionsCount", {}, Bytes(3));
        }).ends_with("regionsCount is not a number"));
  CHECK(error([](auto& f) {
          f.block("Memory", {0, 0}, Bytes(4096));
        }).ends_with("Memory[0][0] comes twice"));
  CHECK(error(
            [](auto& f) {
              f.regions({{0, 0, 4}});
            },
            {.below_4g = kGiB}) ==
        "input: --below-4g makes no sense, since the state tells where memory lies");
  CHECK(error([](auto& f) {
          for (std::uint32_t i = 0; i < 4097; ++i) f.number("regionPPN", {i}, i);
        }).ends_with("regionPPN[4096] is of one region too many"));
}

TEST_CASE("vmware memory: salvage keeps the regions and pages that are there") {
  CheckpointBuilder file = state();
  file.regions({{0, 0, 2}, {1, 1, 1}, {2, 0x100, 2}}).number("regionsCount", {}, 7);
  file.number("regionSize", {9}, 1).block("Memory", {0, 0}, pages(1, 4));
  Bytes bytes = file.bytes();
  bytes.resize(bytes.size() - 2 - 4096 - 100);  // inside the third page
  CHECK(read_bytes(bytes).error ==
        "input: 1 region without one of regionPageNum, regionPPN and regionSize");
  const ReadResult result = read_bytes(bytes, {.salvage = true});
  REQUIRE(result.error == "");
  CHECK(result.image->runs.extents() == std::vector{guest_range(0, 0x2000)});
  CHECK(guest_bytes(*result.image, 0, 8192) == slice(pages(1, 4), 0, 2));
  CHECK(result.has_loss("1 region without one of regionPageNum, regionPPN and regionSize"));
  CHECK(result.has_loss("regionsCount says 7 regions, 3 of them complete"));
  CHECK(result.has_loss(
      "region 1 (1 page from page 0x1) overlaps the one before it; it is left out"));
  CHECK(
      result.has_loss("the file ends inside block Memory[0][0]; 8 KiB of guest memory left out: "
                      "0x100000-0x102000"));
}

TEST_CASE("vmware memory: a state cut off inside its memory") {
  CheckpointBuilder file = state();
  file.block("Memory", {0, 0}, pages(1, 4));
  Bytes bytes = file.bytes();
  bytes.resize(bytes.size() - 2 - 4096);
  CHECK(
      read_bytes(bytes).error ==
      "input: the file ends inside block Memory[0][0], more is described (--salvage converts what "
      "is there)");
  const ReadResult result = read_bytes(bytes, {.salvage = true});
  CHECK(guest_bytes(*result.image, 0, 3 * 4096) == slice(pages(1, 4), 0, 3));
  CHECK(result.has_loss("4 KiB of guest memory left out: 0x3000-0x4000"));
}

TEST_CASE("vmware memory: without its regions salvage does not place memory by a rule") {
  CheckpointBuilder file = state();
  file.block("cut", {}, Bytes(1), {.stored_size = 1 << 20}).regions({{0, 0x300, 2}});
  const ReadOptions salvage{.salvage = true};
  CHECK(read_pair(file, pages(1, 2), salvage).error.find("block cut is cut off") !=
        std::string::npos);
  file = state();
  file.number("regionsCount", {}, 1);
  const ReadResult result = read_pair(file, pages(1, 2), salvage);
  REQUIRE(result.error == "");
  CHECK(result.image->runs.empty());
}

TEST_CASE("vmware memory: a plain block has one size") {
  CheckpointBuilder file = state();
  file.block("Memory", {0, 0}, pages(1, 1), {.memory_size = 8192});
  CHECK(read_bytes(file.bytes()).error.ends_with("Memory[0][0] has two sizes, 4096 and 8192"));
}

TEST_CASE("vmware memory: sizes that wrap lead nowhere") {
  for (const std::uint64_t size :
       {~std::uint64_t{0}, ~std::uint64_t{0} - 100, std::uint64_t{1} << 63}) {
    CheckpointBuilder file = state();
    file.block("Memory", {0, 0}, pages(1, 1), {.stored_size = size});
    const ReadResult result = read_bytes(file.bytes());
    CHECK(result.kind == ErrorKind::corrupt);
    file = state();
    file.block("other", {0, 0}, pages(1, 1), {.stored_size = size});
    CHECK(read_bytes(file.bytes()).error.find("block other[0][0] is cut off") != std::string::npos);
  }
}

TEST_CASE("vmware memory: a compressed Memory block, in every way that is known") {
  Bytes memory = pages(1, 6);
  std::fill(memory.begin() + 100, memory.begin() + 9000, std::byte{0});
  const auto read_block = [&](const Bytes& stored, std::uint64_t size, bool salvage = false) {
    CheckpointBuilder file = state();
    file.regions({{0, 0, 6}});
    file.block("Memory", {0, 0}, stored, {.padding = 9, .compressed = true, .memory_size = size});
    return read_bytes(file.bytes(), {.salvage = salvage});
  };
  for (const Bytes& stored : {memory, zlib_of(memory), compressed_memory(memory, 8192)}) {
    const ReadResult result = read_block(stored, memory.size());
    REQUIRE(result.error == "");
    CHECK(guest_bytes(*result.image, 0, memory.size()) == memory);
  }
  CHECK(read_block(Bytes(500, std::byte{0xff}), memory.size())
            .error.ends_with("Memory[0][0] is compressed in an unknown way"));
  CHECK(read_block(zlib_of(memory), memory.size() + 4096)
            .error.ends_with("Memory[0][0] is damaged: zlib data gives too few bytes"));
  CHECK(read_block(zlib_of(memory), memory.size() - 4096)
            .error.ends_with("Memory[0][0] is damaged: zlib data gives too many bytes"));
  CHECK(read_block(zlib_of(memory), std::uint64_t{1} << 40)
            .error.ends_with("Memory[0][0] claims to expand to more than it can"));
  CHECK(read_block(zlib_of(memory), 1)
            .error.ends_with("Memory[0][0] is stored in far more bytes than it has"));
  Bytes cut = zlib_of(memory);
  cut.resize(cut.size() / 2);
  CHECK(read_block(cut, memory.size()).error.ends_with("is damaged: zlib data ends early"));
  const ReadResult result = read_block(cut, memory.size(), true);
  REQUIRE(result.error == "");
  CHECK(result.diagnostics->lost());
  const auto extents = result.image->runs.extents();
  REQUIRE(extents.size() == 1);
  CHECK(guest_bytes(*result.image, 0, extents[0].size()) ==
        Bytes(memory.begin(), memory.begin() + static_cast<std::ptrdiff_t>(extents[0].size())));
}

TEST_CASE(
    "vmware memory: without regions and with more than 3 GiB the gap is a guess, or the user's "
    "word") {
  const auto extents = [](std::uint64_t size, const ReadOptions& options = {}) {
    CheckpointBuilder file;
    file.group("memory").number("regionsCount", {}, 0);
    const auto source = std::make_shared<MemorySource>("vm.vmss", file.bytes());
    const auto memory = std::make_shared<SparseFolder>(size);
    const ReadResult result = read_source(source, options, memory);
    return result.image ? result.image->runs.extents() : std::vector<GuestRange>();
  };
  CHECK(extents(3 * kGiB) == std::vector{guest_range(0, 3 * kGiB)});
  CHECK(extents(3 * kGiB + 4096) ==
        std::vector{guest_range(0, 3 * kGiB), guest_range(4 * kGiB, 4 * kGiB + 4096)});
  CHECK(extents(4 * kGiB, {.below_4g = 2 * kGiB}) ==
        std::vector{guest_range(0, 2 * kGiB), guest_range(4 * kGiB, 6 * kGiB)});
  CHECK(extents(kGiB, {.below_4g = 2 * kGiB}).empty());
  CHECK(extents(4 * kGiB, {.below_4g = 100}).empty());
}

TEST_CASE("vmware memory: RAM of an ARM64 guest begins at 2 GiB") {
  const auto arm = [](const auto& mark) {
    CheckpointBuilder file;
    mark(file);
    return read_pair(file, pages(4, 3));
  };
  for (const bool by_platform : {true, false}) {
    const ReadResult result = arm([&](CheckpointBuilder& file) {
      if (by_platform) {
        file.group("Checkpoint").number("Platform", {}, 3);
      } else {
        file.group("cpu").number("hv:ttbrEL1[0]", {0}, 0x80001000, 8);
      }
    });
    REQUIRE(result.error == "");
    CHECK(result.image->arch == Arch::aarch64);
    CHECK(result.image->runs.extents() == std::vector{guest_range(2 * kGiB, 2 * kGiB + 3 * 4096)});
    CHECK(guest_bytes(*result.image, 2 * kGiB, 3 * 4096) == pages(4, 3));
    CHECK(result.has_warning("no registers: those of ARM64 guests are not known"));
  }
  CheckpointBuilder file;
  file.group("Checkpoint").number("Platform", {}, 3);
  CHECK(read_pair(file, pages(4, 3), {.machine = machine_by_name("x86_64")}).error ==
        "vm.vmss: is of a guest of aarch64, not of x86_64 as --arch says");
  CHECK(read_pair(file, pages(4, 3), {.below_4g = kGiB}).error ==
        "vm.vmss: --below-4g is for x86 PCs");
}

TEST_CASE("vmware memory: sizes that disagree are told") {
  CheckpointBuilder file;
  file.group("Checkpoint").number("memSize", {}, 1);
  file.group("memory").regions({{0, 0, 2}});
  ReadResult result = read_pair(file, pages(1, 2));
  CHECK(result.has_warning("memSize says 1 MiB of RAM, its memory is 8 KiB"));
  // Without regions memSize tells that something is missing.
  CheckpointBuilder bare;
  bare.group("Checkpoint").number("memSize", {}, 1);
  CHECK(read_pair(bare, pages(1, 2)).error ==
        "vm.vmem: the memory is cut off after 8 KiB, more is described (--salvage converts what is "
        "there)");
  result = read_pair(bare, page_of(1, 5000), {.salvage = true});
  CHECK(result.image->runs.extents() == std::vector{guest_range(0, 4096)});
}

TEST_CASE("vmware memory: what is marked as partial, or wide unlike its magic, is told") {
  CheckpointBuilder file = state();
  file.magic = 0xbed3bed3;
  file.word_size = 4;
  file.block("Memory", {0, 0}, pages(1, 1));
  const ReadResult result = read_bytes(file.bytes());
  CHECK(result.has_warning("is marked as partial; what that leaves out is not known"));
  CHECK(result.has_warning("sizes are 4 bytes wide, unlike the magic says"));
}

}  // namespace
}  // namespace vmconvert::test
