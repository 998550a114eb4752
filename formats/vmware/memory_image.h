#pragma once

#include <memory>
#include <string>
#include <vector>

#include "vmconvert/io/input.h"
#include "vmware/checkpoint.h"

namespace vmconvert::vmware {

/// The memory of a guest as one piece, whatever holds it: pages without the gaps between them.
/// Places in it are bytes from its beginning.
struct MemoryImage {
  std::shared_ptr<const ByteSource> source;
  FileOffset begin;              ///< of the image in the source
  std::uint64_t size = 0;        ///< bytes there are, or should be
  std::vector<FileRange> sound;  ///< places whose bytes can be read, in order; all without damage
  std::string why;               ///< what the first damaged place says; empty without damage
  bool unpacked = false;         ///< the source is what its file unpacks to
  bool inside = false;           ///< it is a block of the checkpoint
};

/// Opens a .vmem: memory as it is, or compressed.
/// @param salvage  find out which compressed blocks are damaged
/// @throws Error(unsupported) if it is encrypted, Error(corrupt) if it is damaged
MemoryImage open_memory_file(std::shared_ptr<const ByteSource> file, bool salvage,
                             Diagnostics& diagnostics);

/// Opens the memory inside a checkpoint.
/// @param input  the checkpoint
/// @throws Error(unsupported) if it is compressed in an unknown way, Error(corrupt) if it is
/// damaged
MemoryImage open_memory_block(const Input& input, const Tag& tag, bool salvage,
                              Diagnostics& diagnostics);

}  // namespace vmconvert::vmware
