#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "vmconvert/base/diagnostics.h"
#include "vmconvert/model/guest_image.h"
#include "vmware/checkpoint.h"

namespace vmconvert::vmware {

/// Collects the blocks of a checkpoint that are files of their own: pictures of the screen, the
/// configuration, firmware, and whatever else is a block, but for the memory.
class EmbeddedFiles {
 public:
  /// @param source  that of the checkpoint in the image
  EmbeddedFiles(const Checkpoint& checkpoint, SourceId source, Diagnostics& diagnostics);

  /// Looks at a tag. What is cut off is left to whoever walks the tags.
  /// @throws Error(io) as the source does
  void add(const Group& group, const Tag& tag);
  /// Adds what was found to an image: pictures first, the main one before others.
  void finish(GuestImage& image);

 private:
  struct Picture {
    bool main = false;
    Attachment file;
  };
  bool take(const Tag& tag);
  void add_file(const Group& group, const Tag& tag, bool packed, Attachment file);
  Attachment content_of(const Tag& tag);
  void cut_behind_png(Attachment& file) const;

  const Checkpoint& checkpoint_;
  SourceId source_;
  Diagnostics& diagnostics_;
  std::set<FileOffset> taken_;  ///< tags, since groups may share them
  std::uint64_t bytes_left_;    ///< that files may have together: blocks may overlap
  std::uint64_t expanded_left_;
  std::uint64_t left_out_ = 0, packed_ = 0, no_png_ = 0;
  std::vector<Picture> pictures_;
  std::vector<Attachment> files_;
};

}  // namespace vmconvert::vmware
