#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "vmconvert/model/metadata.h"
#include "xen/stream_pages.h"

namespace vmconvert::xen {

/// What a save stream holds of a guest, whichever kind it is of.
struct SavedGuest {
  bool pv = false;
  unsigned width = 8;  ///< bytes of a PV guest's words
  StreamPages pages;
  std::map<std::uint32_t, FileOffset> contexts;  ///< of PV vCPUs, by number; whole
  std::optional<FileRange> shared_info, hvm_context;
  std::optional<std::uint64_t> p2m_entries;  ///< that the guest's own p2m has
  std::uint32_t major = 0, minor = 0;        ///< version of Xen; 0 if the stream does not tell
  std::vector<Fact> facts;
  std::vector<Attachment> attachments;
};

}  // namespace vmconvert::xen
