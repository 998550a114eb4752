#include "raw/raw_reader.h"

#include "vmconvert/base/text.h"
#include "vmconvert/model/machine.h"

namespace vmconvert::raw_image {
namespace {

constexpr std::uint32_t kPage = 4096;

GuestImage read(const Input& input, const ReadOptions& options, Diagnostics& diagnostics) {
  const ByteSource& source = *input.source();
  GuestImage image;
  assume_machine(source.name(), options.machine, image, diagnostics);
  image.sources.push_back(input.source());
  RunListBuilder runs(kPage);
  runs.add({GuestRange::sized({0}, source.size()), InFile{0, kPage, {0}}});
  image.runs = runs.finish();
  image.metadata.facts.push_back({"dump.format", "raw"});
  diagnostics.decision(source.name(), human_size(source.size()) +
                                          " taken for guest memory from address 0 on; holes of the "
                                          "guest's address space become memory");
  return image;
}

}  // namespace

constinit const Format kRaw{
    .name = "raw",
    .summary = "raw image of memory: byte N is guest address N (never told by content)",
    .probe = nullptr,
    .read = read,
};

}  // namespace vmconvert::raw_image
