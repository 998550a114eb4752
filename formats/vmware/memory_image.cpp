#include "vmware/memory_image.h"

#include <array>

#include "vmconvert/base/text.h"
#include "vmware/checkpoint_expansion.h"
#include "vmware/compressed_memory.h"
#include "vmware/encryption.h"

namespace vmconvert::vmware {
namespace {

constexpr std::uint64_t kPage = 4096;

std::vector<std::byte> head_of(const ByteSource& source, FileRange range) {
  std::vector<std::byte> head(
      static_cast<std::size_t>(std::min<std::uint64_t>(range.size(), kLargestHead)));
  source.read_at(range.begin(), head);
  return head;
}

MemoryImage plain_image(std::shared_ptr<const ByteSource> source, FileRange range) {
  MemoryImage image{std::move(source), range.begin(), range.size()};
  // A part of a page is no page.
  const std::uint64_t whole = range.size() / kPage * kPage;
  if (whole != 0) image.sound.push_back(FileRange::sized({0}, whole));
  return image;
}

MemoryImage compressed_image(std::shared_ptr<const CompressedMemory> memory, bool salvage,
                             Diagnostics& diagnostics) {
  diagnostics.decision(memory->name(),
                       human_size(memory->size()) + " of memory in compressed blocks");
  MemoryImage image = plain_image(memory, FileRange::sized({0}, memory->size()));
  image.unpacked = true;
  if (salvage) image.sound = memory->sound_ranges(image.why);
  return image;
}

}  // namespace

MemoryImage open_memory_file(std::shared_ptr<const ByteSource> file, bool salvage,
                             Diagnostics& diagnostics) {
  const auto all = FileRange::sized({0}, file->size());
  const auto head = head_of(*file, all);
  refuse_encrypted(head, *file);
  if (CompressedMemory::recognise(head)) {
    if (auto memory = CompressedMemory::open(file, all, salvage ? &diagnostics : nullptr))
      return compressed_image(std::move(memory), salvage, diagnostics);
  }
  return plain_image(std::move(file), all);
}

MemoryImage open_memory_block(const Input& input, const Tag& tag, bool salvage,
                              Diagnostics& diagnostics) {
  const auto& file = input.source();
  MemoryImage image;
  if (tag.coding == Coding::block && tag.stored_size != tag.memory_size) {
    throw Error(ErrorKind::corrupt, file->name(), tag.at.value,
                label(tag) + " has two sizes, " + std::to_string(tag.stored_size) + " and " +
                    std::to_string(tag.memory_size));
  }
  if (!tag.needs_expansion()) {
    image = plain_image(file, tag.stored);
    if (!tag.complete()) image.why = file->name() + ": the file ends inside block " + label(tag);
    image.size = tag.stored_size;
  } else if (CompressedMemory::recognise(head_of(*file, tag.stored))) {
    auto memory = CompressedMemory::open(file, tag.stored, salvage ? &diagnostics : nullptr);
    if (!memory) throw unknown_compression(*file, tag);
    image = compressed_image(std::move(memory), salvage, diagnostics);
    image.size = tag.memory_size;
  } else {
    auto plain = expand_to_file(*file, tag, salvage, diagnostics);
    const std::uint64_t size = plain->size();
    image = plain_image(std::move(plain), FileRange::sized({0}, size));
    image.unpacked = true;
    image.size = tag.memory_size;
  }
  image.inside = true;
  return image;
}

}  // namespace vmconvert::vmware
