#pragma once

#include <cstdint>
#include <memory>
#include <variant>
#include <vector>

#include "vmconvert/base/address.h"
#include "vmconvert/io/byte_source.h"

namespace vmconvert {

/// Bytes made by a writer: headers, notes.
struct Literal {
  std::vector<std::byte> bytes;
};

/// The guest's memory from `begin` on. The runs of the image cover it without a gap.
struct GuestData {
  GuestPhysAddr begin;
};

/// All bytes of a source that a writer made: too many to be held in memory.
struct Generated {
  std::shared_ptr<const ByteSource> source;
};

struct Part {
  FileOffset at;
  std::uint64_t size = 0;
  std::variant<Literal, GuestData, Generated> content;
  FileOffset end() const { return at + size; }
};

/// What an output consists of: parts in ascending order that do not overlap. What lies between two
/// parts is zero. Complete before the first byte is written.
struct OutputPlan {
  std::uint64_t size = 0;
  std::vector<Part> parts;
};

/// Lays parts out one after the other.
class PlanBuilder {
 public:
  /// Where the next part begins.
  FileOffset position() const { return position_; }
  void literal(std::vector<std::byte> bytes);
  void guest(GuestRange range);
  void generated(std::shared_ptr<const ByteSource> source);
  /// Leaves zeros up to the next multiple of `alignment`, a power of two.
  void align(std::uint64_t alignment);
  /// Leaves zeros up to `to`, which must not lie before position().
  void advance_to(FileOffset to);
  OutputPlan finish() &&;

 private:
  FileOffset position_;
  std::vector<Part> parts_;
};

}  // namespace vmconvert
