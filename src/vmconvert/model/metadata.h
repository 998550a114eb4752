#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "vmconvert/base/address.h"
#include "vmconvert/model/run_list.h"

namespace vmconvert {

/// A named area of memory of the saved machine: guest RAM, video memory, a ROM.
struct MemoryBlock {
  std::string name;
  std::uint64_t size = 0;  ///< bytes
  std::vector<GuestRange>
      guest;  ///< where the guest sees it; empty if it does not, or it is unknown
};

/// The saved state of one device.
struct DeviceRecord {
  std::string name;
  std::uint64_t instance = 0;
  std::uint64_t version = 0;
  std::uint64_t size = 0;  ///< bytes; 0 if the input does not tell
};

/// One of several saved states in an input.
struct Snapshot {
  std::string id, name;
  std::uint64_t date = 0;      ///< seconds since 1970-01-01 UTC
  std::uint64_t vm_clock = 0;  ///< nanoseconds the guest had run
  std::uint64_t state_size =
      0;  ///< bytes of saved memory and devices; 0: a snapshot of the disk alone
};

/// One thing an input says about itself or the guest.
struct Fact {
  std::string
      key;  ///< lower case, dotted: "domain.name", "machine.capability"; may come repeatedly
  std::string value;  ///< as found, not escaped
};

/// A named value of an input, as its format has it.
struct Record {
  std::string name;                    ///< as found, not escaped
  std::vector<std::uint32_t> indices;  ///< which of several of this name
  FileRange place;                     ///< its bytes, in the source that the list names
  std::uint64_t size = 0;              ///< bytes of the value
  bool encoded = false;                ///< the bytes are not the value itself, but packed
  std::optional<std::uint64_t> number;  ///< the value, if it is a number
};

/// Records that belong together.
struct RecordGroup {
  std::string name;        ///< as found, not escaped
  FileOffset at;           ///< where its records begin, as the input says
  std::uint64_t size = 0;  ///< bytes of all of them, as the input says
  std::vector<Record> records;
  std::string damage;  ///< why there may be more of them; empty if these are all
};

/// What an input is made of, down to single values: `info --tags`.
struct RecordList {
  SourceId source = 0;  ///< in which the places are
  std::vector<RecordGroup> groups;
};

/// What an input says besides memory and registers. For people and `info`; no writer reads it.
struct Metadata {
  std::string machine;  ///< machine type or product; empty if the input does not tell
  std::vector<Fact> facts;
  std::vector<MemoryBlock> blocks;
  std::vector<DeviceRecord> devices;
  std::optional<RecordList> records;  ///< only if ReadOptions::records asked for them
};

/// A part of a source of the image.
struct SourceBytes {
  SourceId source = 0;
  FileRange range;
};

/// Something embedded in the input that is a file of its own: configuration, device description.
struct Attachment {
  enum class Kind { configuration, device_description, screenshot, other };
  Kind kind = Kind::other;
  std::string name;        ///< proposed file name; from the input, so not safe as a path
  std::string media_type;  ///< "text/xml"
  std::variant<SourceBytes, std::vector<std::byte>> content;
};

/// What the guest's display showed.
struct Screen {
  std::uint32_t width = 0, height = 0;  ///< pixels, at least 1
  std::vector<std::byte> rgb;           ///< rows from the top, three bytes a pixel, no padding
  std::string origin;  ///< for people: "text mode 80x25 of section 0000:00:01.0/vga"
};

}  // namespace vmconvert
