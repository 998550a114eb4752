#pragma once

#include <memory>

#include "vmconvert/base/diagnostics.h"
#include "vmconvert/io/byte_source.h"
#include "vmconvert/model/run_list.h"

namespace vmconvert::kdump {

/// True if these bytes begin a flattened dump: records of a file, as they were written.
bool is_flattened(std::span<const std::byte> head);

/// The file that a flattened dump stands for. Where two records overlap, the later one holds.
/// Offsets in messages are those of the rearranged file.
class FlattenedSource final : public ByteSource {
 public:
  /// @throws Error(corrupt) if a record leaves the source or the end mark is missing; with
  /// `salvage`
  ///         what is there is used, and the loss is reported
  FlattenedSource(std::shared_ptr<const ByteSource> source, bool salvage, Diagnostics& diagnostics);
  /// The same, where bytes from `from` on that no record holds cannot be read: what a writer steps
  /// over is zero, but there it would be pages that are missing.
  FlattenedSource(const FlattenedSource& other, FileOffset from);

  const std::string& name() const override { return name_; }
  std::uint64_t size() const override { return size_; }
  /// @throws Error(corrupt) for bytes that are missing
  void read_at(FileOffset at, std::span<std::byte> out) const override;

 private:
  void fill_hole(FileOffset at, std::span<std::byte> out) const;

  std::shared_ptr<const ByteSource> source_;
  std::string name_;
  std::shared_ptr<const RunList> places_;
  std::uint64_t size_ = 0;
  FileOffset strict_from_;
};

}  // namespace vmconvert::kdump
