#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qemu/qevm_stream.h"
#include "vmconvert/base/address.h"
#include "vmconvert/io/byte_source.h"

namespace vmconvert::qemu {

/// One field of a device's state, as the JSON after the stream's end describes it. A field of type
/// "struct", "vstruct" or "tmp" has members; so has a subsection, whose type is "subsection" and
/// whose name is its vmsd_name. docs/formats/qevm.md, "The device description".
struct DeviceField {
  std::string name;
  std::string type;                  ///< as QEMU names it: "uint32", "buffer"
  std::uint64_t offset = 0;          ///< bytes from the start of what this is a member of
  std::uint64_t size = 0;            ///< bytes of one element
  std::uint64_t count = 1;           ///< elements, one behind the other
  std::vector<DeviceField> members;  ///< their offsets count from the start of one element
};

/// Where one field, or one element of an array, lies in a section's payload.
struct FieldPlace {
  std::uint64_t offset = 0;  ///< bytes from the start of the payload
  std::uint64_t size = 0;    ///< bytes of one element
  std::uint64_t count = 1;
  const DeviceField* field = nullptr;
};

/// What the JSON says about the state of all devices. Numbers are as found: whoever reads checks
/// that a place lies within its section, as DeviceState does.
class DeviceFields {
 public:
  /// Nothing if the text is not a vmdescription or has more fields than a machine can have.
  /// Never throws on account of the text.
  static std::optional<DeviceFields> parse(std::string_view json);
  /// The same for what follows the stream; nothing if nothing does.
  static std::optional<DeviceFields> read(const QevmStream& stream, const ByteSource& source);

  /// The whole state of a section, as a field without a name; nullptr if it is not described.
  const DeviceField* find(std::string_view idstr, std::uint64_t instance_id) const;
  /// The description begins with the machine's configuration, which that of QEMU 7.2 does not have
  /// and that of 10.0 has: the machine type does not tell which QEMU wrote the stream.
  bool has_configuration() const { return has_configuration_; }

 private:
  bool has_configuration_ = false;
  std::map<std::pair<std::string, std::uint64_t>, DeviceField, std::less<>> devices_;
};

/// Finds a field by its path from `root`: "vga/cr" is the member cr of the struct vga, "regs[2]"
/// the third element of an array, "guest_slots[1]/active" a member of the second,
/// "vga/vga.endian/x" the field x of the subsection vga.endian. A name may contain brackets and slashes
/// itself ("unused[1]", the subsection "cpu/fpu").
std::optional<FieldPlace> find_field(const DeviceField& root, std::string_view path);

/// The values of one section's fields, by path. A field that the section does not have, that has
/// another size or that reaches beyond the payload is nothing.
class DeviceState {
 public:
  /// All three must outlive this.
  DeviceState(const ByteSource& source, const DeviceSection& section, const DeviceField& root)
      : source_(&source), section_(&section), root_(&root) {}

  bool has(std::string_view path) const { return place(path).has_value(); }
  /// Where the field lies in the payload, all its elements included.
  std::optional<FileRange> range(std::string_view path) const;
  /// An integer of 1, 2, 4 or 8 bytes, big-endian as all are; not of an array.
  /// @throws Error(io)
  std::optional<std::uint64_t> number(std::string_view path) const;
  /// All elements of an array of integers; of at most `most` bytes. @throws Error(io)
  std::optional<std::vector<std::uint64_t>> numbers(std::string_view path,
                                                    std::size_t most = 65536) const;
  /// The field's bytes as they are, of all elements; at most `most`. @throws Error(io)
  std::optional<std::vector<std::byte>> bytes(std::string_view path,
                                              std::size_t most = 65536) const;

 private:
  std::optional<FieldPlace> place(std::string_view path) const;

  const ByteSource* source_;
  const DeviceSection* section_;
  const DeviceField* root_;
};

}  // namespace vmconvert::qemu
