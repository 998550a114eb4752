#include <algorithm>

#include "corpus.h"
#include "support/checkpoint_builder.h"
#include "support/compress.h"
#include "support/encoded_ram.h"
#include "support/fastlz_stream.h"
#include "support/panic_builder.h"
#include "support/pc_stream.h"

namespace vmconvert::test {
namespace {

/// Both halves in one seed: tests/fuzz/halves.h.
Bytes halves(const Bytes& state, const Bytes& memory) {
  return ByteWriter().le32(state.size()).append(state).append(memory).bytes();
}

CheckpointBuilder checkpoint(unsigned word_size = 8) {
  CheckpointBuilder file;
  if (word_size == 4) file.magic = 0xbed2bed0;
  file.word_size = word_size;
  file.group("Checkpoint").number("Platform", {}, 1).block("ProductName", {}, Bytes(20));
  file.group("cpu").number("cpu:numVCPUs", {}, 1).number("rip", {0}, 0xffffffff81000000, 8);
  file.block("gpregs", {0}, Bytes(128)).block("CR64", {0}, Bytes(72)).block("IDTR", {0}, Bytes(10));
  file.number("eflags", {0}, 2).number("S", {0, 1}, 0x10, 2).number("S.base64", {0, 5}, 1, 8);
  file.group("memory").number("align_mask", {0, 0}, 0xfff);
  return file;
}

}  // namespace

void add_checkpoints(const Corpus& corpus) {
  Bytes memory = page_of(1, 8192);
  std::fill(memory.begin() + 100, memory.begin() + 8000, std::byte{0});
  CheckpointBuilder inside = checkpoint();
  inside.block("Memory", {0, 0}, memory, {.padding = 5});
  corpus.add("inside", halves(inside.bytes(), {}));
  CheckpointBuilder narrow = checkpoint(4);
  narrow.regions({{1, 0, 1}, {0, 0x100000, 1}}, 8);
  narrow.block("Memory", {0, 0}, zlib_of(memory), {.compressed = true, .memory_size = 8192});
  const auto os = as_bytes("guestOS = \"debian12-64\"\n");
  narrow.group("Snapshot").block("cfgFile", {}, Bytes(os.begin(), os.end()));
  corpus.add("zlib", halves(narrow.bytes(), {}));
  CheckpointBuilder container = checkpoint();
  container.block("Memory", {}, compressed_memory(memory, 4096),
                  {.compressed = true, .memory_size = 8192});
  corpus.add("container", halves(container.bytes(), {}));
  CheckpointBuilder beside = checkpoint();
  beside.regions({{0, 0, 1}, {1, 0x100000, 1}});
  corpus.add("beside", halves(beside.bytes(), memory));
  for (const unsigned level : {1U, 2U}) {
    corpus.add("compressed-" + std::to_string(level),
               halves(beside.bytes(), compressed_memory(memory, 4096, level)));
  }
  corpus.add("encrypted", halves(ByteWriter().le32(0x8943dd9e).le32(1).bytes(), memory));
  CheckpointBuilder arm;
  arm.group("Checkpoint").number("Platform", {}, 3);
  corpus.add("arm", halves(arm.bytes(), memory));
}

void add_panic_dumps(const Corpus& corpus) {
  for (const unsigned version : {1U, 3U, 4U, 6U, 7U}) {
    PanicFile file{.version = version, .pages = 2, .vcpus = 1};
    if (version != 4) file.holes.emplace_back(1, 3);
    if (version == 6) file.holes.emplace_back(4, 9);
    corpus.add("version-" + std::to_string(version), halves(file.bytes(), page_of(2, 8192)));
  }
  corpus.add("apart", halves(PanicFile{.pages = 1, .vcpus = 2, .apart = true}.bytes(), page_of(1)));
}

}  // namespace vmconvert::test
