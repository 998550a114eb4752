#include "support/reading.h"

#include <stdexcept>

#include "all_formats.h"
#include "vmconvert/convert/choose_format.h"

namespace vmconvert::test {
namespace {

/// What an image promises to `info` and `extract`.
void check_metadata(const GuestImage& image) {
  for (const MemoryBlock& block : image.metadata.blocks) {
    std::uint64_t seen = 0;
    GuestPhysAddr end;
    for (const GuestRange range : block.guest) {
      if (range.empty() || range.begin() < end) throw std::logic_error("ranges of a block overlap");
      end = range.end();
      seen = checked_add(seen, range.size());
    }
  }
  if (const auto& list = image.metadata.records) {
    for (const RecordGroup& group : list->groups) {
      for (const Record& record : group.records) {
        if (record.place.end().value > image.sources.at(list->source)->size())
          throw std::logic_error("record outside its source");
      }
    }
  }
  for (const Attachment& attachment : image.attachments) {
    const auto* place = std::get_if<SourceBytes>(&attachment.content);
    if (place == nullptr) continue;
    if (place->source >= image.sources.size())
      throw std::logic_error("attachment of an unknown source");
    if (place->range.end().value > image.sources[place->source]->size())
      throw std::logic_error("attachment outside its source");
  }
}

}  // namespace

void check_image(const GuestImage& image) {
  check_metadata(image);
  image.runs.check_invariants();
  const std::uint64_t page = image.runs.page_size();
  for (const Run& run : image.runs) {
    const auto* file = std::get_if<InFile>(&run.backing);
    if (file == nullptr) continue;
    if (file->source >= image.sources.size()) throw std::logic_error("run of an unknown source");
    const std::uint64_t pages = (run.guest.size() + page - 1) / page;
    const std::uint64_t span = file->stride == page
                                   ? run.guest.size()
                                   : checked_add(checked_mul(pages - 1, file->stride), page);
    if (checked_add(file->at.value, span) > image.sources[file->source]->size()) {
      throw std::logic_error("run outside its source");
    }
  }
}

ReadResult read_source(std::shared_ptr<const ByteSource> source, const ReadOptions& options,
                       std::shared_ptr<const Neighbours> neighbours) {
  ReadResult result;
  result.diagnostics = std::make_unique<CollectingDiagnostics>();
  try {
    const Format& format = choose_format(all_formats(), "", *source);
    const Input input(std::move(source), options.salvage, std::move(neighbours));
    result.image = format.read(input, options, *result.diagnostics);
  } catch (const Error& error) {
    result.error = error.what();
    result.kind = error.kind();
  }
  if (result.image) check_image(*result.image);
  return result;
}

ReadResult read_bytes(Bytes bytes, const ReadOptions& options) {
  return read_source(std::make_shared<MemorySource>("input", std::move(bytes)), options);
}

}  // namespace vmconvert::test
